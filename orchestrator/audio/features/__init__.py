"""Audio features: mel spectrograms, pitch, visemes."""
