"""Random loads of faces from an emulated bucket: how long they take, and that the cache keeps to
its budget.

`python -m benchmarks.face_loads --loads 10000`; the emulator is a package of the development extra.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import sys
import time
from dataclasses import dataclass

import numpy as np

from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.gcs import BucketFaceStore
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, face_prefix


@dataclass(frozen=True, slots=True)
class Loads:
    """What came of it."""

    latencies_ms: list[float]
    most_bytes: int
    """The largest fill seen after any load."""
    budget_bytes: int


async def random_loads(store: BucketFaceStore, faces: int, loads: int, budget_bytes: int) -> Loads:
    """Loads of `faces` faces in random order, skewed so that some are asked for often; four callers
    at once.
    """
    service = FaceModelCacheService(store, max_faces=50, max_face_bytes=budget_bytes)
    choose, latencies_ms, most_bytes = random.Random(0), list[float](), 0

    async def caller(count: int) -> None:
        nonlocal most_bytes
        for _ in range(count):
            began_s = time.monotonic()
            await service.load_face_model("ann", f"face-{int(faces * choose.random() ** 2)}")
            latencies_ms.append(1000.0 * (time.monotonic() - began_s))
            most_bytes = max(most_bytes, service.cached_bytes)

    await asyncio.gather(*(caller(loads // 4) for _ in range(4)))
    return Loads(latencies_ms, most_bytes, budget_bytes)


async def fill(store: BucketFaceStore, faces: int) -> None:
    """Copies of the shipped portrait under other ids."""
    files = {
        path.name: path.read_bytes()
        for path in (SHIPPED_FACES / face_prefix(DEMO_USER, DEMO_FACE)).iterdir()
    }
    for number in range(faces):
        await store.replace(face_prefix("ann", f"face-{number}"), files)


def main() -> int:
    """Print a table; exit status 1 if the budget was passed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.face_loads", description=__doc__)
    parser.add_argument("--loads", type=int, default=10_000)
    parser.add_argument("--faces", type=int, default=40)
    parser.add_argument("--budget-mb", type=float, default=8.0)
    options = parser.parse_args()
    loads = asyncio.run(_measured(options.faces, options.loads, round(options.budget_mb * 1e6)))
    p50, p95, p99 = np.percentile(loads.latencies_ms, (50, 95, 99))
    print(f"{len(loads.latencies_ms)} loads, p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms")
    print(f"at most {loads.most_bytes / 1e6:.2f} MB of {loads.budget_bytes / 1e6:.2f} MB held")
    return 0 if loads.most_bytes <= loads.budget_bytes else 1


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
