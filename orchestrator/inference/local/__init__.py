"""Inference in this process, for tools and tests.

ONNX Runtime and Python models without a server.
"""
