"""Audio in any accepted form becomes 16 kHz mono and log-mel windows."""
