"""Latency of face loads from an emulated bucket, and the memory of the face cache.

    python -m benchmarks.face_loads [--loads 10000] [--faces 40] [--budget-mb 8]

Prints the 50th, 95th and 99th percentile of the latency in ms, and the largest size of the cache in
MB. The bucket emulator is a package of the development extra.
"""

from __future__ import annotations

import asyncio
import random
import socket
import sys
import time
from dataclasses import dataclass

import numpy as np

from benchmarks.shared import command_line, portrait_files
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.gcs import BucketFaceStore
from orchestrator.faces.storage.layout import face_prefix


@dataclass(frozen=True, slots=True)
class Loads:
    """Measurements of one run."""

    latencies_ms: list[float]
    max_bytes: int
    """Largest size of the cache after any load."""
    budget_bytes: int


async def random_loads(store: BucketFaceStore, faces: int, loads: int, budget_bytes: int) -> Loads:
    """Load `faces` faces in random order from four tasks, some faces more often than others."""
    service = FaceModelCacheService(store, max_faces=50, max_face_bytes=budget_bytes)
    choose, latencies_ms, max_bytes = random.Random(0), list[float](), 0

    async def caller(count: int) -> None:
        nonlocal max_bytes
        for _ in range(count):
            began_s = time.monotonic()
            await service.load_face_model("ann", f"face-{int(faces * choose.random() ** 2)}")
            latencies_ms.append(1000.0 * (time.monotonic() - began_s))
            max_bytes = max(max_bytes, service.cached_bytes)

    await asyncio.gather(*(caller(loads // 4) for _ in range(4)))
    return Loads(latencies_ms, max_bytes, budget_bytes)


async def fill(store: BucketFaceStore, faces: int) -> None:
    """Store copies of the shipped portrait as `face-0`, `face-1`, ... of user `ann`."""
    files = portrait_files()
    for number in range(faces):
        await store.replace(face_prefix("ann", f"face-{number}"), files)


def main() -> int:
    """Print the figures; return 1 where the cache exceeded its budget."""
    parser = command_line("face_loads", __doc__)
    parser.add_argument("--loads", type=int, default=10_000)
    parser.add_argument("--faces", type=int, default=40)
    parser.add_argument("--budget-mb", type=float, default=8.0)
    options = parser.parse_args()
    loads = asyncio.run(_measured(options.faces, options.loads, round(options.budget_mb * 1e6)))
    p50, p95, p99 = np.percentile(loads.latencies_ms, (50, 95, 99))
    print(f"{len(loads.latencies_ms)} loads, p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms")
    print(f"cache at most {loads.max_bytes / 1e6:.2f} MB of {loads.budget_bytes / 1e6:.2f} MB")
    return 0 if loads.max_bytes <= loads.budget_bytes else 1


async def _measured(faces: int, loads: int, budget_bytes: int) -> Loads:
    from gcp_storage_emulator.server import create_server
    from google.api_core.client_options import ClientOptions
    from google.auth.credentials import AnonymousCredentials
    from google.cloud import storage

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket="faces")
    server.start()
    try:
        credentials = AnonymousCredentials()  # type: ignore[no-untyped-call]
        client = storage.Client(
            "lipsync",
            credentials,
            client_options=ClientOptions(api_endpoint=f"http://127.0.0.1:{port}"),
        )
        store = BucketFaceStore("faces", client)
        await fill(store, faces)
        return await random_loads(store, faces, loads, budget_bytes)
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
