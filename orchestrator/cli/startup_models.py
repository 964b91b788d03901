"""Triton models that the server loads first.

Known without importing the adapters, which takes as long as the server's start.
"""

from __future__ import annotations

from typing import Final

from orchestrator.core.config import ServiceConfig
from orchestrator.core.types import LipSyncModel

BUILT_IN: Final = ("audio2motion", "tpsm", "tpsm_speech")
"""The Triton models of `tpsm` and their ensemble: shipped, and ready within half a second."""


def loaded_first(config: ServiceConfig) -> tuple[str, ...]:
    """Models available as soon as the service listens; another default model is loaded later."""
    return BUILT_IN if config.serves(LipSyncModel.TPSM) else ()
