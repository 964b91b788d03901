"""Load order of the Triton models after the first ones: the default model, then by size, smallest
first.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from orchestrator.core.config import ServiceConfig
from orchestrator.models import ADAPTERS
from orchestrator.models.base import EncodesFace, ModelAdapter
from orchestrator.pipeline.licence_policy import refused_models


def loaded_later(config: ServiceConfig) -> tuple[str, ...]:
    """The networks of every served model, including those not exported yet.

    They load one after another: a network that takes a minute must not delay those that take a
    second.
    """
    refused = refused_models(ADAPTERS, commercial_safe=config.commercial_safe)
    served = [model for model in ADAPTERS if config.serves(model) and model not in refused]
    served.sort(
        key=lambda model: (
            model is not config.default_model,
            _file_bytes(config.model_repository, _networks(ADAPTERS[model])),
        )
    )
    return tuple(
        dict.fromkeys(network for model in served for network in _networks(ADAPTERS[model]))
    )


def _file_bytes(repository: Path, networks: Iterable[str]) -> int:
    files = (
        file for network in set(networks) for file in (repository / network).glob("[0-9]*/model.*")
    )
    return sum(file.stat().st_size for file in files)


def _networks(adapter: ModelAdapter) -> tuple[str, ...]:
    """Networks that generate frames, their ensembles, and those that encode the face."""
    spec = adapter.spec
    return (
        *spec.triton_models,
        *spec.ensembles,
        *(adapter.face_models if isinstance(adapter, EncodesFace) else ()),
    )
