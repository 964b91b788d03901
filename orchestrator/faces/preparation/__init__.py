"""Preparation of faces for models: face encodings and solutions, cached and stored beside the
face.
"""
