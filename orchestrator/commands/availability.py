"""Which models this checkout can use, why not the others, and under which licences: told alike by every command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.inference.repository import Repository
from orchestrator.models import ADAPTERS
from orchestrator.types import LipSyncModel


@dataclass(frozen=True, slots=True)
class Licence:
    """Under what terms a model may be used: the code is ours throughout, weights are their authors'."""

    code: str
    weights: str


LICENCES: Final[dict[LipSyncModel, Licence]] = {
    LipSyncModel.TPSM: Licence("ours", "ours"),
    LipSyncModel.WAV2LIP: Licence("ours", "research only"),
    LipSyncModel.SADTALKER: Licence("ours", "Apache-2.0"),
    LipSyncModel.AUDIO2HEAD: Licence("ours", "none stated"),
    LipSyncModel.TPSM_NEURAL: Licence("ours", "MIT"),
    LipSyncModel.STATIC: Licence("ours", "none needed"),
}
"""As the authors of the public checkpoints state them; `docs/models.md` has the sources."""

SHIPPED: Final = frozenset({"tpsm"})
"""Triton models that are programs of this repository: nothing makes them anew."""

TRAINED_HERE: Final = frozenset({"audio2motion"})
"""Triton models that need no checkpoint of others."""


def why_not(model: LipSyncModel, repository: Repository) -> str:
    """What is missing before `model` can draw, and the command that brings it; empty when nothing is."""
    if model not in ADAPTERS:
        return "not part of this version"
    absent = [name for name in ADAPTERS[model].spec.triton_models if not _present(name, repository)]
    return "; ".join(f"{_file(name, repository)} is missing: {export_command(name)}" for name in absent)


def export_command(triton_model: str) -> str:
    """Makes the file of one Triton model."""
    if triton_model in SHIPPED:
        return f"git checkout -- model_repository/{triton_model}"
    checkpoint = "" if triton_model in TRAINED_HERE else " --checkpoint PATH"
    return f"python -m export {triton_model}{checkpoint}"


def _present(name: str, repository: Repository) -> bool:
    contract = repository.models.get(name)
    return contract is not None and contract.present


def _file(name: str, repository: Repository) -> str:
    contract = repository.models.get(name)
    file = repository.path / name / "config.pbtxt" if contract is None else contract.file
    return str(file.relative_to(repository.path.parent)) if file.is_relative_to(repository.path.parent) else str(file)
