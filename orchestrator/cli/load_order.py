"""Which Triton models are loaded behind those that the server starts with: the default model's,
then the smaller ones first.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from orchestrator.core.config import ServiceConfig
from orchestrator.models import ADAPTERS
from orchestrator.models.base import EncodesFace, ModelAdapter
from orchestrator.pipeline.licence_policy import refused_models


def loaded_later(config: ServiceConfig) -> tuple[str, ...]:
    """The networks of every model that is served, also of those that are not exported yet.

    They are loaded one after another, and one that takes a minute shall not keep others waiting
    that take a second.
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
    """Those that draw, alone and together, and those that see nothing but the face."""
    spec = adapter.spec
    return (
        *spec.triton_models,
        *spec.ensembles,
        *(adapter.face_models if isinstance(adapter, EncodesFace) else ()),
    )
