"""Adaptation to congestion: bitrate, frame rate, frame skipping, JPEG budget."""
