"""`lipsync serve`: run the service, with the embedded Triton unless one is named."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli import process_limits
from orchestrator.cli.configuration import settings
from orchestrator.cli.startup_models import loaded_first
from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.config_loading import printed
from orchestrator.core.errors import LipSyncError
from orchestrator.core.logs import configure_logging
from orchestrator.core.tracing import start_tracing, stop_tracing
from orchestrator.inference import ContractError
from orchestrator.inference.open_inference import open_inference

if TYPE_CHECKING:
    from orchestrator.inference.embedded.process import Launched
    from orchestrator.inference.embedded.supervisor import EmbeddedTriton
    from orchestrator.server.app import Listening
    from orchestrator.sessions.drain import Drain


logger = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM, then shut down gracefully; a second signal shortens that."""
    try:
        config = settings(options)
        if options.print_config:
            print(printed(config))
            return 0
        _check(config)
        process_limits.prepare()
        configure_logging(config.log_format)
        asyncio.run(_serve(config))
    except (ConfigError, ContractError, LipSyncError, OSError) as error:
        print(
            f"lipsync: {error}\nRun `lipsync doctor` to see what this machine lacks.",
            file=sys.stderr,
        )
        return 1
    finally:
        stop_tracing()
    return 0


def _check(config: ServiceConfig) -> None:
    """Raise ConfigError for settings with which the service would start but serve nothing."""
    if not config.model_repository.is_dir():
        raise ConfigError(
            f"model_repository: {config.model_repository} is no folder; name the one that holds "
            "the models' folders"
        )
    try:
        socket.getaddrinfo(config.host, config.port)
    except socket.gaierror as error:
        raise ConfigError(
            f"host: {config.host} has no address ({error.strerror}); give one of this machine, as "
            "127.0.0.1"
        ) from None


async def _serve(config: ServiceConfig) -> None:
    ending, at_once = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: (at_once if ending.is_set() else ending).set())
    async with _running(config) as service:
        host = f"[{config.host}]" if ":" in config.host else config.host
        _announce(f"A face speaks at http://{host}:{service.port}/  (Ctrl+C stops it)")
        for fault in await asyncio.to_thread(_faults, config):
            logger.warning("%s", fault)
        await ending.wait()
        await _drain(service.drain, config.drain_s, at_once)


async def _drain(drain: Drain, patience_s: float, at_once: asyncio.Event) -> None:
    """Drain until no work is left, `patience_s` has passed, or a second signal arrives."""
    if patience_s <= 0.0:
        return
    tasks = [
        asyncio.create_task(drain.finish(patience_s), name="drain"),
        asyncio.create_task(at_once.wait(), name="second signal"),
    ]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _announce(line: str) -> None:
    """Print `line`, or log it where standard output is closed; later output is discarded then."""
    try:
        print(line, flush=True)
    except OSError as error:
        logger.warning("the standard output cannot be written to (%s): %s", error.strerror, line)
        with Path(os.devnull).open("w") as null_device:
            os.dup2(null_device.fileno(), sys.stdout.fileno())


def _faults(config: ServiceConfig) -> list[str]:
    """Faults that do not stop the service, but would otherwise show only at the first refusal."""
    from orchestrator.cli.doctor.check import State
    from orchestrator.cli.doctor.storage_checks import storage
    from orchestrator.inference.model_contract import read_repository
    from orchestrator.pipeline.model_availability import why_not

    faults = []
    lack = (
        ""
        if config.triton_url
        else why_not(config.default_model, read_repository(config.model_repository))
    )
    if lack:
        faults.append(
            f"default_model {config.default_model.value} cannot speak, so that other models speak "
            f"and /readyz says degraded: {lack}"
        )
    if not config.bucket and (check := storage(config)).state is State.MISSING:
        faults.append(f"storage: no face can be kept in {config.storage}: {check.finding}")
    return faults


@asynccontextmanager
async def _running(config: ServiceConfig) -> AsyncIterator[Listening]:
    """Run the service in this process.

    The server process starts before the heavy imports, which take as long as its start.
    """
    with _launched(config) as launched:
        start_tracing(os.environ)

        from orchestrator.server.app import serving

        embedded = None if launched is None else _embedded(config, launched)
        async with serving(config, partial(open_inference, config, embedded)) as listening:
            yield listening


@contextmanager
def _launched(config: ServiceConfig) -> Iterator[Launched | None]:
    """The server process, or None with an external Triton.

    `EmbeddedTriton` takes it over. It ends here where that did not happen.
    """
    if config.triton_url:
        yield None
        return

    from orchestrator.inference.embedded.process import launch_early

    launched = launch_early(config.model_repository, loaded_first(config))
    try:
        yield launched
    finally:
        if launched.process.exit_code is None:
            launched.process.kill()
        launched.run_lock.release()


def _embedded(config: ServiceConfig, launched: Launched) -> EmbeddedTriton:
    from orchestrator.cli.load_order import loaded_later
    from orchestrator.inference.embedded.supervisor import EmbeddedTriton

    return EmbeddedTriton(
        config.model_repository, launched.models, later=loaded_later(config), launched=launched
    )
