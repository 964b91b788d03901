"""Preparation of faces for models: encodings and solutions, cached and stored."""
