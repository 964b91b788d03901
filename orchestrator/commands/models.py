"""`lipsync models`: what there is to speak with, and what it would take to use the rest."""

from __future__ import annotations

import argparse

from orchestrator.commands.availability import LICENCES, why_not
from orchestrator.commands.settings import settings
from orchestrator.commands.terminal import explain, table
from orchestrator.config import ConfigError
from orchestrator.inference.repository import ContractError, Repository, read_repository
from orchestrator.models import ADAPTERS
from orchestrator.types import LipSyncModel

HEADING = ("model", "available", "look-ahead", "face from", "code", "weights", "why not")


def run(options: argparse.Namespace) -> int:
    """Print the table; a model that cannot be used is no failure."""
    try:
        config = settings(options)
        repository = read_repository(config.model_repository)
    except (ConfigError, ContractError) as error:
        return explain(error)
    print(table([HEADING, *(_row(model, repository) for model in LipSyncModel)], right=(2, 3)))
    return 0


def _row(model: LipSyncModel, repository: Repository) -> tuple[str, ...]:
    reason, licence = why_not(model, repository), LICENCES[model]
    return (model.value, "no" if reason else "yes", *_needs(model), licence.code, licence.weights, reason)


def _needs(model: LipSyncModel) -> tuple[str, str]:
    if model not in ADAPTERS:
        return "-", "-"
    spec = ADAPTERS[model].spec
    look_ahead_ms = spec.look_ahead_ms if spec.triton_models else 0.0
    return f"{look_ahead_ms:.1f} ms", f"{spec.min_size} px" if spec.min_size else "any size"
