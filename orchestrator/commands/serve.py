"""`lipsync serve`: the whole service, with the embedded Triton unless another one is named, in one process or in several."""

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
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.commands import process_limits
from orchestrator.commands.first_models import loaded_first
from orchestrator.commands.settings import settings
from orchestrator.config import ConfigError, ServiceConfig
from orchestrator.config_layers import printed
from orchestrator.errors import LipSyncError
from orchestrator.inference import ContractError, Inference
from orchestrator.logs import configure_logging
from orchestrator.tracing import start_tracing, stop_tracing

if TYPE_CHECKING:
    from orchestrator.inference.embedded import EmbeddedTriton
    from orchestrator.inference.process import Launched


logger = logging.getLogger(__name__)


def run(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
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
        print(f"lipsync: {error}\nRun `lipsync doctor` to see what this machine lacks.", file=sys.stderr)
        return 1
    finally:
        stop_tracing()
    return 0


def _check(config: ServiceConfig) -> None:
    """Refuses what would start and then serve nobody, or not everybody."""
    if not config.model_repository.is_dir():
        raise ConfigError(f"model_repository: {config.model_repository} is no folder; name the one that holds the models' folders")
    try:
        socket.getaddrinfo(config.host, config.port)
    except socket.gaierror as error:
        raise ConfigError(f"host: {config.host} has no address ({error.strerror}); give one of this machine, as 127.0.0.1") from None
    if config.workers > config.max_concurrent_sessions:
        count = f"{config.workers} workers cannot share max_concurrent_sessions {config.max_concurrent_sessions}"
        raise ConfigError(f"workers: {count}, each takes one at least; ask for fewer workers or allow more sessions")


async def _serve(config: ServiceConfig) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with _running(config) if config.workers == 1 else _shared(config) as port:
        host = f"[{config.host}]" if ":" in config.host else config.host
        _greet(f"A face speaks at http://{host}:{port}/  (Ctrl+C stops it)")
        for fault in await asyncio.to_thread(_lasting_faults, config):
            logger.warning("%s", fault)
        await stopped.wait()


def _greet(line: str) -> None:
    """To the standard output, or to the log where nobody reads that; what is printed there later goes nowhere then."""
    try:
        print(line, flush=True)
    except OSError as error:
        logger.warning("the standard output cannot be written to (%s): %s", error.strerror, line)
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _lasting_faults(config: ServiceConfig) -> list[str]:
    """What it starts with all the same, and what nobody would be told before somebody is refused."""
    from orchestrator.commands.availability import why_not
    from orchestrator.commands.checks import State, storage
    from orchestrator.inference.repository import read_repository

    faults = []
    lack = "" if config.triton_url else why_not(config.default_model, read_repository(config.model_repository))
    if lack:
        faults.append(f"default_model {config.default_model.value} cannot speak, so that /readyz says 503 and other models speak: {lack}")
    if not config.bucket and (check := storage(config)).state is State.MISSING:
        faults.append(f"storage: no face can be kept in {config.storage}: {check.finding}")
    return faults


@asynccontextmanager
async def _running(config: ServiceConfig) -> AsyncIterator[int]:
    """The service in this process; yields its port. The server process starts before the heavy imports, which take as long as it does."""
    with _launched(config) as launched:
        start_tracing(os.environ)

        from orchestrator.app import serving
        from orchestrator.inference.repository import read_repository
        from orchestrator.inference.triton import TritonInference

        @asynccontextmanager
        async def open_inference() -> AsyncIterator[Inference]:
            repository = read_repository(config.model_repository)
            if launched is None:
                async with TritonInference(config.triton_urls, repository) as inference:
                    yield inference
                return
            async with _embedded(config, launched) as server, TritonInference([server], repository) as inference:
                yield inference

        async with serving(config, open_inference) as port:
            yield port


@asynccontextmanager
async def _shared(config: ServiceConfig) -> AsyncIterator[int]:
    """The service in `config.workers` processes below this one, which runs the Triton that they share; yields their port."""
    from orchestrator.workers import WorkerPool, reserved_port, shared_metrics

    with shared_metrics(), reserved_port(config.host, config.port) as port, _launched(config) as launched:
        listening = replace(config, port=port)
        if launched is None:
            async with WorkerPool(listening, None, lambda _: None):
                yield port
            return

        from orchestrator.inference import InferenceError
        from orchestrator.inference.shared import Failure, state_of

        async with _embedded(config, launched) as server:

            def tell(failure: Failure) -> None:
                server.report_failure(failure.model, InferenceError(failure.code, failure.message, model=failure.model))

            async with WorkerPool(listening, lambda: state_of(server), tell):
                yield port


@contextmanager
def _launched(config: ServiceConfig) -> Iterator[Launched | None]:
    """The server process, unless another one is named. `EmbeddedTriton` takes it over; where none comes to be, it ends here."""
    if config.triton_url:
        yield None
        return

    from orchestrator.inference.process import launch_early

    launched = launch_early(config.model_repository, loaded_first(config))
    try:
        yield launched
    finally:
        if launched.process.exit_code is None:
            launched.process.kill()
        launched.lease.release()


def _embedded(config: ServiceConfig, launched: Launched) -> EmbeddedTriton:
    from orchestrator.commands.served import loaded_later
    from orchestrator.inference.embedded import EmbeddedTriton

    return EmbeddedTriton(config.model_repository, launched.models, later=loaded_later(config), launched=launched)
