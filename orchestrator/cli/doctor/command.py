"""`lipsync doctor`: check what the service needs; print the command that repairs each fault."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from orchestrator.cli.configuration import settings
from orchestrator.cli.doctor import fetched_file_checks, machine_checks
from orchestrator.cli.doctor.check import Check, State
from orchestrator.cli.doctor.environment_checks import ENVIRONMENT
from orchestrator.cli.doctor.storage_checks import storage
from orchestrator.cli.terminal import explain
from orchestrator.core.config import ConfigError, ServiceConfig

MACHINE: Final[tuple[Callable[[ServiceConfig], Check], ...]] = (
    machine_checks.python,
    fetched_file_checks.tritonserver,
    fetched_file_checks.server_libraries,
    machine_checks.codecs,
    storage,
    machine_checks.port,
    machine_checks.cores,
    fetched_file_checks.landmark_model,
    machine_checks.disk,
    machine_checks.gpu,
    machine_checks.chromium,
)
"""In the order of repair."""

COLOURS: Final = {State.OK: 32, State.NOTE: 33, State.MISSING: 31}
"""ANSI colours of a terminal: green, yellow, red."""


def run(options: argparse.Namespace) -> int:
    """Exit status 0 when `lipsync serve` can run with its default model, else 1."""
    logging.basicConfig(level=logging.CRITICAL, stream=sys.stderr)
    try:
        config = settings(options)
    except ConfigError as error:
        return explain(error)
    checks = []
    for check in _checks(config):
        print(_line(check), flush=True)
        checks.append(check)
    print(_summary(checks))
    return 1 if any(check.state is State.MISSING for check in checks) else 0


def _checks(config: ServiceConfig) -> Iterator[Check]:
    """Check the machine first, then what runs on it."""
    try:
        for check in (*MACHINE, *ENVIRONMENT):
            yield check(config)
        from orchestrator.cli.doctor.model_checks import MODELS

        for check_models in MODELS:
            yield asyncio.run(check_models(config))
    except ImportError as error:
        yield Check("packages", State.MISSING, str(error), "make install")


def _line(check: Check) -> str:
    mark = check.state.value.ljust(len(State.MISSING))
    if sys.stdout.isatty():
        mark = f"\033[{COLOURS[check.state]}m{mark}\033[0m"
    text = f"{mark}  {check.name:<20}  {' '.join(check.finding.split())}"
    return f"{text}\n{'':9}{'':20}  -> {check.fix}" if check.fix else text


def _summary(checks: Sequence[Check]) -> str:
    missing = [check.name for check in checks if check.state is State.MISSING]
    if missing:
        return f"\n`lipsync serve` cannot run as it should: {', '.join(missing)}."
    return "\n`lipsync serve` can run."
