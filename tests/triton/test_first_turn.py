"""A face is at the renderer before its first frame: no request of a first turn is refused for want
of its maps.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import numpy as np
import pytest_asyncio
from demo_face import demo_face
from live_service import LiveService, live_service, turn_of
from watched_server import ANSWER_S, until

from orchestrator.inference.triton.inference import TritonInference
from orchestrator.models.tpsm.adapter import Tpsm
from orchestrator.rendering.map_files import PREFIX
from orchestrator.rendering.motion import MOTION_PARAMETERS

MODELS = ("audio2motion", "tpsm", "tpsm_speech")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(make_repository: Callable[[], Path]) -> AsyncIterator[LiveService]:
    with tempfile.TemporaryDirectory() as storage:
        async with live_service(make_repository(), MODELS, Path(storage)) as running:
            yield running


async def refused(service: LiveService) -> int:
    """Requests that the renderer and the ensemble failed since the server's start, of whatever
    reason.
    """
    async with aiohttp.ClientSession() as http, http.get(service.server.metrics_url) as answer:
        lines = (await answer.text()).splitlines()
    failures = [
        line
        for line in lines
        if line.startswith("nv_inference_request_failure") and 'model="tpsm' in line
    ]
    assert failures
    return round(sum(float(line.rsplit(" ", 1)[1]) for line in failures))


async def test_the_shipped_face_is_sent_to_the_renderer_before_the_service_listens(
    service: LiveService,
) -> None:
    face = Tpsm().prepare(demo_face(), 256)
    await _draw(service.inference, face.digest, rows=1)


async def test_first_turns_of_the_shipped_and_of_stored_faces_are_not_refused(
    service: LiveService,
) -> None:
    for size in (256, 512, 128):
        for face in ("demo", "red"):
            config = {"resolution": {"width": size, "height": size}}
            pictures = await turn_of(service, "tpsm", 0.6, faceModelId=face, config=config)
            assert pictures[0].shape == (size, size, 3)
    assert await refused(service) == 0


async def test_an_instance_that_was_started_again_has_the_faces_of_its_predecessor(
    service: LiveService, stubs_of: Callable[[int, str], list[int]]
) -> None:
    face = Tpsm().prepare(demo_face(), 128)
    (request,) = Tpsm().introduction(face).values()
    assert (
        await service.inference.infer_everywhere(
            "tpsm", request, deadline=time.monotonic() + ANSWER_S
        )
        == 1
    )
    pid = service.server.health().pid
    assert pid is not None
    os.kill(stubs_of(pid, "tpsm")[0], signal.SIGKILL)
    await until(lambda: not service.server.has_ready("tpsm"))
    await until(lambda: service.server.has_ready("tpsm"))
    await asyncio.gather(*(_draw(service.inference, face.digest, rows=16) for _ in range(8)))
    assert service.server.restarts == 0


async def test_the_maps_go_with_the_server(
    make_repository: Callable[[], Path], tmp_path: Path
) -> None:
    async with live_service(make_repository(), MODELS, tmp_path) as running:
        pid = running.server.health().pid
        assert _shared_maps(pid)
    assert not _shared_maps(pid)


def _shared_maps(server_pid: int | None) -> list[Path]:
    return list(Path(tempfile.gettempdir()).glob(f"{PREFIX}{server_pid}-*/*.maps"))


async def _draw(inference: TritonInference, digest: np.ndarray, rows: int) -> None:
    """Raises `NotCached` where the instance that is asked has not got the face."""
    motion = np.zeros((rows, len(MOTION_PARAMETERS)), np.float32)
    inputs = {"motion": motion, "face": np.broadcast_to(digest, (rows, len(digest)))}
    await inference.infer("tpsm", inputs, deadline=time.monotonic() + ANSWER_S)
