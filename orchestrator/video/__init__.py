"""Windows of audio become pictures."""
