"""Foundations of every package: types, errors, configuration, caches, metrics, logs, traces."""
