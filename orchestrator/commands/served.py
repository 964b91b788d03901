"""Which Triton models are loaded behind those that the server starts with, the most wanted first."""

from __future__ import annotations

from orchestrator.config import ServiceConfig
from orchestrator.licences import refused_models
from orchestrator.models import ADAPTERS
from orchestrator.models.base import EncodesFace, ModelAdapter


def loaded_later(config: ServiceConfig) -> tuple[str, ...]:
    """The networks of every model that is served, also of those that are not exported yet; the default model's come first."""
    refused = refused_models(ADAPTERS, commercial_safe=config.commercial_safe)
    order = dict.fromkeys((config.default_model, *config.fallback_chain, *config.models, *ADAPTERS))
    served = [model for model in order if model in ADAPTERS and config.serves(model) and model not in refused]
    return tuple(dict.fromkeys(network for model in served for network in _networks(ADAPTERS[model])))


def _networks(adapter: ModelAdapter) -> tuple[str, ...]:
    """Those that draw, and those that see nothing but the face."""
    return (*adapter.spec.triton_models, *(adapter.face_models if isinstance(adapter, EncodesFace) else ()))
