"""Embedded `tritonserver`: process, environment, supervision, self test."""
