"""Conversion of audio in any accepted form to 16 kHz mono and log-mel windows."""
