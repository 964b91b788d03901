"""Foundations that every package uses: types, errors, configuration, caches, metrics, logs,
traces.
"""
