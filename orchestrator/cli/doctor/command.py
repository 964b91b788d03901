"""`lipsync doctor`: everything the service needs, whether it is there, and the command that mends
it where it is not.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Iterator, Sequence

from orchestrator.cli.configuration import settings
from orchestrator.cli.doctor.environment_checks import ENVIRONMENT
from orchestrator.cli.doctor.machine_checks import MACHINE, Check, State
from orchestrator.cli.terminal import explain
from orchestrator.core.config import ConfigError, ServiceConfig


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
    """The machine first, then what runs on it."""
    try:
        for ask in (*MACHINE, *ENVIRONMENT):
            yield ask(config)
        from orchestrator.cli.doctor import model_checks as models
        from orchestrator.cli.doctor.capacity_check import live_faces

        for try_out in (
            models.files,
            models.other_models,
            models.renderer,
            models.server,
            live_faces,
        ):
            yield asyncio.run(try_out(config))
    except ImportError as error:
        yield Check("packages", State.MISSING, str(error), "make install")


def _line(check: Check) -> str:
    mark = check.state.value.ljust(len(State.MISSING))
    if sys.stdout.isatty():
        mark = (
            f"\033[{ {State.OK: 32, State.NOTE: 33, State.MISSING: 31}[check.state] }m{mark}\033[0m"
        )
    text = f"{mark}  {check.name:<20}  {' '.join(check.finding.split())}"
    return f"{text}\n{'':9}{'':20}  -> {check.mend}" if check.mend else text


def _summary(checks: Sequence[Check]) -> str:
    missing = [check.name for check in checks if check.state is State.MISSING]
    if missing:
        return f"\n`lipsync serve` cannot run as it should: {', '.join(missing)}."
    return "\n`lipsync serve` can run."
