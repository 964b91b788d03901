"""Face storage: local folder, Google Cloud Storage, the format of a stored face."""
