"""Frame pipeline: model selection, circuit breaking, batching, the clock of a turn, and offline
rendering.
"""
