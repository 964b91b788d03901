"""The models that animate a face: one adapter each, all in one dict."""

from __future__ import annotations

from typing import Final

from orchestrator.core.types import LipSyncModel
from orchestrator.models.audio2head.adapter import Audio2Head
from orchestrator.models.base import ModelAdapter
from orchestrator.models.sadtalker.adapter import SadTalker
from orchestrator.models.static.adapter import Static
from orchestrator.models.tpsm.adapter import Tpsm
from orchestrator.models.tpsm_neural.adapter import TpsmNeural
from orchestrator.models.wav2lip.adapter import Wav2Lip

_ADAPTERS: Final[tuple[ModelAdapter, ...]] = (
    Tpsm(),
    Wav2Lip(),
    SadTalker(),
    Audio2Head(),
    TpsmNeural(),
    Static(),
)

ADAPTERS: Final[dict[LipSyncModel, ModelAdapter]] = {
    adapter.spec.model: adapter for adapter in _ADAPTERS
}
"""Every model of the service by its wire name."""
