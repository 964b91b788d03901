"""Trains the built-in audio-to-mouth network from speech that this machine synthesises."""
