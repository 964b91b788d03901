"""`lipsync serve`: the whole service, with the embedded Triton unless another one is named."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.commands.first_models import loaded_first
from orchestrator.commands.settings import settings
from orchestrator.config import ConfigError, ServiceConfig
from orchestrator.config_layers import printed
from orchestrator.errors import LipSyncError
from orchestrator.inference import Inference


def run(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    try:
        config = settings(options)
        if options.print_config:
            print(printed(config))
            return 0
        asyncio.run(_serve(config))
    except (ConfigError, LipSyncError, OSError) as error:
        print(f"lipsync: {error}\nRun `lipsync doctor` to see what this machine lacks.", file=sys.stderr)
        return 1
    return 0


async def _serve(config: ServiceConfig) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with _running(config) as port:
        host = f"[{config.host}]" if ":" in config.host else config.host
        print(f"A face speaks at http://{host}:{port}/  (Ctrl+C stops it)", flush=True)
        await stopped.wait()


@asynccontextmanager
async def _running(config: ServiceConfig) -> AsyncIterator[int]:
    """The service, listening; yields its port. The server process starts before the heavy imports, which take as long as it does."""
    launched = None
    if not config.triton_url:
        from orchestrator.inference.process import launch_early

        launched = launch_early(config.model_repository, loaded_first(config))

    import cv2
    from aiohttp import web

    from orchestrator.app import SHUTDOWN_TIMEOUT_S, build_app
    from orchestrator.commands.served import loaded_later
    from orchestrator.inference.embedded import EmbeddedTriton
    from orchestrator.inference.repository import read_repository
    from orchestrator.inference.triton import TritonInference

    cv2.setNumThreads(1)

    @asynccontextmanager
    async def open_inference() -> AsyncIterator[Inference]:
        repository = read_repository(config.model_repository)
        if launched is None:
            async with TritonInference(config.triton_urls, repository) as inference:
                yield inference
            return
        async with (
            EmbeddedTriton(config.model_repository, launched.models, later=loaded_later(config), launched=launched) as server,
            TritonInference([server], repository) as inference,
        ):
            yield inference

    runner = web.AppRunner(build_app(config, open_inference), access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT_S)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
