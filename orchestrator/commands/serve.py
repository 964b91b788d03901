"""`lipsync serve`: the whole service, with the embedded Triton unless another one is named, in one process or in several."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.commands.first_models import loaded_first
from orchestrator.commands.settings import settings
from orchestrator.config import ConfigError, ServiceConfig
from orchestrator.config_layers import printed
from orchestrator.errors import LipSyncError
from orchestrator.inference import Inference
from orchestrator.logs import configure_logging
from orchestrator.tracing import start_tracing, stop_tracing

if TYPE_CHECKING:
    from orchestrator.inference.embedded import EmbeddedTriton
    from orchestrator.inference.process import Launched


def run(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    try:
        config = settings(options)
        if options.print_config:
            print(printed(config))
            return 0
        configure_logging(config.log_format)
        asyncio.run(_serve(config))
    except (ConfigError, LipSyncError, OSError) as error:
        print(f"lipsync: {error}\nRun `lipsync doctor` to see what this machine lacks.", file=sys.stderr)
        return 1
    finally:
        stop_tracing()
    return 0


async def _serve(config: ServiceConfig) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with _running(config) if config.workers == 1 else _shared(config) as port:
        host = f"[{config.host}]" if ":" in config.host else config.host
        print(f"A face speaks at http://{host}:{port}/  (Ctrl+C stops it)", flush=True)
        await stopped.wait()


@asynccontextmanager
async def _running(config: ServiceConfig) -> AsyncIterator[int]:
    """The service in this process; yields its port. The server process starts before the heavy imports, which take as long as it does."""
    launched = _launched(config)
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

    with shared_metrics(), reserved_port(config.host, config.port) as port:
        launched, listening = _launched(config), replace(config, port=port)
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


def _launched(config: ServiceConfig) -> Launched | None:
    if config.triton_url:
        return None

    from orchestrator.inference.process import launch_early

    return launch_early(config.model_repository, loaded_first(config))


def _embedded(config: ServiceConfig, launched: Launched) -> EmbeddedTriton:
    from orchestrator.commands.served import loaded_later
    from orchestrator.inference.embedded import EmbeddedTriton

    return EmbeddedTriton(config.model_repository, launched.models, later=loaded_later(config), launched=launched)
