"""The models a face can speak with: one adapter each, all in one dict."""

from __future__ import annotations

from typing import Final

from orchestrator.models.base import ModelAdapter
from orchestrator.models.static import Static
from orchestrator.models.tpsm import Tpsm
from orchestrator.types import LipSyncModel

ADAPTERS: Final[dict[LipSyncModel, ModelAdapter]] = {adapter.spec.model: adapter for adapter in (Tpsm(), Static())}
"""Every model of the service by its wire name."""
