"""Training of the built-in audio-to-mouth network on locally synthesised speech."""
