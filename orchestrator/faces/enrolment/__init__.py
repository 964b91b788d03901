"""Enrolment: face detection, mesh, framing and quality of a photo."""
