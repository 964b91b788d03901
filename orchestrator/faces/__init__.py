"""Faces: enrolment of photos, storage, and preparation for models."""
