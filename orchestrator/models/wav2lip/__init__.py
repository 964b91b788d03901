"""Wav2Lip: adapter, features and face crop."""
