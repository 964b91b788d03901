"""Static fallback: the face at rest."""
