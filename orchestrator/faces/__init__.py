"""Faces: enrolling a photo, storing what was found in it, and handing models what they need of
it.
"""
