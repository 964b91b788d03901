"""Audio2Head: adapter, features and head motion."""
