"""The lip-sync service: audio chunks in, frames of a speaking face out, in real time.

`LipSyncService` is the service without a socket (docs/python.md). It is imported on first use:
importing this package alone stays cheap.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.sessions.service import LipSyncService

    __version__: str

__all__ = ["LipSyncService", "__version__"]

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""ONNX Runtime's official Linux builds (1.29 and newer) report sessions and models to their vendor
by default.

It reads the variable on import, in this process and in those that inherit its environment.
"""


def __getattr__(name: str) -> Any:
    """Import `LipSyncService`, or read `__version__` from the package metadata, on first use."""
    if name == "LipSyncService":
        from orchestrator.sessions.service import LipSyncService

        return LipSyncService
    if name == "__version__":
        from importlib.metadata import version

        return version("lipsync-service")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
