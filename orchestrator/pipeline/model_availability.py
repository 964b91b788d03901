"""Availability of the models in this installation, their licences, and commands that make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from orchestrator.core.types import LipSyncModel
from orchestrator.inference.model_contract import Repository
from orchestrator.models import ADAPTERS
from orchestrator.models.base import Licences

LICENCES: Final[dict[LipSyncModel, Licences]] = {
    model: adapter.spec.licences for model, adapter in ADAPTERS.items()
}
"""Licences that the adapters declare; `docs/models.md` has the sources."""

SHIPPED: Final = frozenset({"tpsm"})
"""Triton models that are programs of this repository, not exported networks."""

TRAINED_HERE: Final = frozenset({"audio2motion"})
"""Triton models trained here, without a third-party checkpoint."""


def why_not(model: LipSyncModel, repository: Repository) -> str:
    """Files that `model` lacks and the command that makes them; empty when it is complete."""
    if model not in ADAPTERS:
        return "not part of this version"
    absent = [name for name in ADAPTERS[model].spec.triton_models if not _present(name, repository)]
    if not absent:
        return ""
    missing = ", ".join(_file(name, repository) for name in absent)
    return f"missing {missing}: {' && '.join(commands_for(model, absent))}"


def commands_for(model: LipSyncModel, absent: Sequence[str]) -> tuple[str, ...]:
    """Commands that make the Triton models `absent` of `model`; all parts of a public network come
    from one checkpoint by one command.
    """
    return tuple(dict.fromkeys(_command(model, name) for name in absent))


def _command(model: LipSyncModel, triton_model: str) -> str:
    if triton_model in SHIPPED:
        return f"git checkout -- model_repository/{triton_model}"
    if triton_model in TRAINED_HERE:
        return f"python -m export {triton_model}"
    return f"python -m export {model.value} --checkpoint PATH"


def _present(name: str, repository: Repository) -> bool:
    contract = repository.models.get(name)
    return contract is not None and contract.present


def _file(name: str, repository: Repository) -> str:
    contract = repository.models.get(name)
    file = repository.path / name / "config.pbtxt" if contract is None else contract.file
    return (
        str(file.relative_to(repository.path.parent))
        if file.is_relative_to(repository.path.parent)
        else str(file)
    )
