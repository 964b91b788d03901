"""The lip-sync service: audio chunks in, frames of a speaking face out, in real time."""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""ONNX Runtime's official Linux builds (1.29 and newer) report sessions and models to their vendor
by default.

Read when it is imported, in this process and in those that inherit its environment.
"""
