"""`lipsync models`: table of the models, their licences and missing files; set-up of an external
Triton.
"""

from __future__ import annotations

import argparse

from orchestrator.cli.configuration import settings
from orchestrator.cli.served_repository import load_arguments, write_repository
from orchestrator.cli.terminal import explain, table
from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.types import LipSyncModel
from orchestrator.inference import ContractError
from orchestrator.inference.model_contract import Repository, read_repository
from orchestrator.inference.weights_provenance import Weights, WeightsRegister, warning_of
from orchestrator.models import ADAPTERS
from orchestrator.pipeline.licence_policy import why_refused
from orchestrator.pipeline.model_availability import LICENCES, why_not

HEADING = (
    "model",
    "available",
    "look-ahead",
    "face from",
    "code",
    "weights",
    "commercial use",
    "why not",
)

SERVED_HEADING = ("network", "weights", "origin", "SHA-256")


def run(options: argparse.Namespace) -> int:
    """Print the tables, the load arguments, or the models of the repository written.

    Exit status 1 for a fault of the configuration or the repository; an unavailable model is none.
    """
    try:
        config = settings(options)
        repository = read_repository(config.model_repository)
        if options.load_arguments:
            print(" ".join(load_arguments(config, repository)))
        elif options.serve_from is not None:
            names = write_repository(config, repository, options.serve_from, options.tensorrt_cache)
            print(f"{options.serve_from} serves {', '.join(names) or 'no model'}")
        else:
            _print_tables(config, repository)
    except (ConfigError, ContractError, OSError) as error:
        return explain(error)
    return 0


def _print_tables(config: ServiceConfig, repository: Repository) -> None:
    register = WeightsRegister(repository)
    print(
        table(
            [HEADING, *(_row(model, config, repository, register) for model in ADAPTERS)],
            right=(2, 3),
        )
    )
    served = [
        weights
        for adapter in ADAPTERS.values()
        for weights in register.of(adapter.spec.triton_models)
        if weights.label
    ]
    if served:
        print(
            "\n" + table([SERVED_HEADING, *(_served(weights) for weights in dict.fromkeys(served))])
        )


def _row(
    model: LipSyncModel, config: ServiceConfig, repository: Repository, register: WeightsRegister
) -> tuple[str, ...]:
    licences = LICENCES[model]
    name = " ".join(
        filter(None, (model.value, warning_of(register.of(ADAPTERS[model].spec.triton_models))))
    )
    unlisted = "" if config.serves(model) else "not among the models that are configured"
    reason = (
        why_refused(model, licences, commercial_safe=config.commercial_safe)
        or unlisted
        or why_not(model, repository)
    )
    commercial = "yes" if licences.commercial else "no"
    return (
        name,
        "no" if reason else "yes",
        *_needs(model),
        licences.code,
        licences.weights,
        commercial,
        reason,
    )


def _needs(model: LipSyncModel) -> tuple[str, str]:
    spec = ADAPTERS[model].spec
    look_ahead_ms = spec.look_ahead_ms if spec.triton_models else 0.0
    return f"{look_ahead_ms:.1f} ms", f"{spec.min_size} px" if spec.min_size else "any size"


def _served(weights: Weights) -> tuple[str, ...]:
    return (weights.network, weights.label, weights.origin, " ".join(weights.sha256) or "-")
