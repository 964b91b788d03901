"""A real `tritonserver` as others run it: by its usual command, on an address of this machine, with
its own health endpoint.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from watched_server import settled, until

from orchestrator.inference.embedded import launcher
from orchestrator.inference.embedded.environment import (
    BACKENDS,
    MODELS,
    find_server,
    prepare_run_folder,
    server_environment,
)
from orchestrator.inference.embedded.run_lock import RunLock


@dataclass(frozen=True)
class PlainTriton:
    """A running server, ready by its own account."""

    address: str
    grpc_port: int
    metrics_port: int
    http_port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """gRPC address."""
        return f"{self.address}:{self.grpc_port}"

    @property
    def health_url(self) -> str:
        """200 where every model of its repository is ready."""
        return f"http://{self.address}:{self.http_port}/v2/health/ready"

    @property
    def metrics_url(self) -> str:
        """Of its own metrics."""
        return f"http://{self.address}:{self.metrics_port}/metrics"

    async def successes(self, model: str) -> int:
        """Requests for a model that it has answered, once the count stands still."""
        return await settled(lambda: self.successes_now(model))

    async def successes_now(self, model: str) -> int:
        """The same, whether or not it still moves."""
        async with aiohttp.ClientSession() as http, http.get(self.metrics_url) as answer:
            lines = (await answer.text()).splitlines()
        counted = [
            line
            for line in lines
            if line.startswith("nv_inference_request_success{") and f'model="{model}"' in line
        ]
        return round(sum(float(line.rsplit(" ", 1)[1]) for line in counted))


@asynccontextmanager
async def plain_triton(
    repository: Path, address: str, ports: tuple[int, int, int], *more: str
) -> AsyncIterator[PlainTriton]:
    """Start on `ports` (gRPC, metrics, HTTP) with NVIDIA's defaults and `more` arguments; wait
    until ready. RuntimeError where it ends.
    """
    run_lock, files = RunLock(), find_server()
    folder = run_lock.folder()
    prepare_run_folder(files, repository, folder)
    command = [
        sys.executable,
        "-I",
        "-S",
        str(launcher.__file__),
        str(os.getpid()),
        str(files.server),
    ]
    process = _started(
        [*command, *_arguments(run_lock.prefix, address, ports), *more],
        folder,
        server_environment(files),
    )
    server = PlainTriton(address, *ports, process)
    try:
        await until(lambda: _ready(server))
        if process.poll() is not None:
            raise RuntimeError((folder / "log").read_text()[-3000:])
        yield server
    finally:
        process.kill()
        process.wait()
        run_lock.release()


def _started(
    command: list[str], folder: Path, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """Its log goes into its folder."""
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def _arguments(prefix: str, address: str, ports: tuple[int, int, int]) -> list[str]:
    return [
        f"--model-repository={MODELS}",
        f"--backend-directory={BACKENDS}",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        *(f"--{door}-address={address}" for door in ("grpc", "metrics", "http")),
        *(
            f"--{door}-port={port}"
            for door, port in zip(("grpc", "metrics", "http"), ports, strict=True)
        ),
    ]


async def _ready(server: PlainTriton) -> bool:
    """Also where it has ended."""
    if server.process.poll() is not None:
        return True
    try:
        async with aiohttp.ClientSession() as http, http.get(server.health_url) as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False
