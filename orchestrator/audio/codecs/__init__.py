"""Decoders of audio chunks: PCM, WAV, Opus in Ogg."""
