"""The whole application over its own embedded Triton, with access to the server's statistics."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import cv2
import numpy as np
import simplejpeg
from aiohttp.test_utils import TestServer
from watched_server import settled
from ws_client import CHUNK_S, WsClient, connect, syllables

from orchestrator.core.config import ServiceConfig
from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, face_prefix
from orchestrator.inference import Inference
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.triton.inference import TritonInference
from orchestrator.server.app import build_app

PATIENT_MS = 120_000
"""Deadline of a chunk: these networks need seconds on a CPU, and nothing else is to be tested by
that.
"""

T = TypeVar("T")

GIVE_UP_S = 600.0
"""For what has to happen some time."""

TRIES = 6
"""Of what others who want the machine may spoil."""

MARKS = {"red": (1.0, 0.5, 0.5), "blue": (0.5, 0.5, 1.0)}
"""Faces of user `demo` beside the portrait: by what its red, green and blue are multiplied."""


@dataclass(frozen=True)
class LiveService:
    """A running service."""

    url: str
    server: EmbeddedTriton
    inference: TritonInference
    """Asks the same server past the sessions."""

    async def statistics(self, triton_model: str) -> tuple[int, int]:
        """Requests that succeeded and executions that they took, by Triton's own count since the
        server's start.
        """
        return await settled(lambda: self._statistics(triton_model))

    async def _statistics(self, triton_model: str) -> tuple[int, int]:
        async with aiohttp.ClientSession() as http, http.get(self.server.metrics_url) as answer:
            lines = (await answer.text()).splitlines()
        counted = {
            name: 0.0 for name in ("nv_inference_request_success", "nv_inference_exec_count")
        }
        for line in lines:
            name, _, rest = line.partition("{")
            if name in counted and f'model="{triton_model}"' in rest:
                counted[name] += float(rest.rsplit(" ", 1)[1])
        return int(counted["nv_inference_request_success"]), int(counted["nv_inference_exec_count"])


@asynccontextmanager
async def live_service(
    repository: Path, models: Sequence[str], storage: Path
) -> AsyncIterator[LiveService]:
    """A service that keeps its faces in `storage`, those of `MARKS` among them; all `models` are
    loaded and ready.
    """
    for face, gains in MARKS.items():
        _enrol_marked(storage, face, gains)
    config = ServiceConfig(
        storage=storage,
        model_repository=repository,
        chunk_deadline_ms=PATIENT_MS,
        capacity_probe=False,
    )
    async with EmbeddedTriton(repository, models) as server:
        assert all(server.has_ready(model) for model in models), server.health()

        async with TritonInference([server], read_repository(repository)) as inference:

            @asynccontextmanager
            async def through_triton() -> AsyncIterator[Inference]:
                yield inference

            async with TestServer(build_app(config, through_triton)) as application:
                yield LiveService(str(application.make_url("")).rstrip("/"), server, inference)


def _enrol_marked(storage: Path, face_id: str, gains: tuple[float, float, float]) -> None:
    folder = storage / face_prefix(DEMO_USER, face_id)
    folder.mkdir(parents=True)
    shipped = SHIPPED_FACES / face_prefix(DEMO_USER, DEMO_FACE)
    for file in shipped.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    picture = cv2.cvtColor(cv2.imread(str(shipped / "neutral_pose.jpg")), cv2.COLOR_BGR2RGB)
    marked = np.clip(picture * np.array(gains), 0, 255).astype(np.uint8)
    (folder / "neutral_pose.jpg").write_bytes(
        simplejpeg.encode_jpeg(np.ascontiguousarray(marked), 95, "RGB")
    )
    metadata = json.loads((folder / "metadata.json").read_text()) | {"id": face_id}
    (folder / "metadata.json").write_text(json.dumps(metadata))


def picture_of(message: dict[str, Any]) -> np.ndarray:
    """A JPEG frame's pixels as int."""
    return np.asarray(simplejpeg.decode_jpeg(base64.b64decode(message["frameData"]), "RGB")).astype(
        int
    )


async def talk(client: WsClient, first_chunk: int, chunks: int, **fields: Any) -> int:
    """Some 100 ms chunks of a turn; the number of the next one."""
    audio, size = syllables((first_chunk + chunks) * CHUNK_S), round(CHUNK_S * 16_000) * 2
    for number in range(first_chunk, first_chunk + chunks):
        await client.say(audio[number * size : (number + 1) * size], number, **fields)
    return first_chunk + chunks


async def until_drawn_by(client: WsClient, model: str, frames: int) -> None:
    """Read on until that many of the turn's frames are this model's."""
    while sum(frame["model"] == model for frame in client.frames()) < frames:
        await client.next()


async def turn_of(
    service: LiveService, model: str, seconds: float, **fields: Any
) -> list[np.ndarray]:
    """The pictures of one turn in a session of its own, all of that model; while its networks first
    see the face, another one speaks.
    """
    async with asyncio.timeout(GIVE_UP_S):
        while True:
            async with connect(service.url, PATIENT_MS / 1000) as client:
                await client.speak(syllables(seconds), modelPreference=model, **fields)
                await client.until("response_end")
            if {frame["model"] for frame in client.frames()} == {model}:
                return [picture_of(frame) for frame in client.frames()]


async def turns_at_once(
    service: LiveService, model: str, seconds: float
) -> dict[str, list[np.ndarray]]:
    """The same with both marked faces at once, each in its session, by face."""
    async with connect(service.url, PATIENT_MS / 1000) as client:
        audio = syllables(seconds)
        await asyncio.gather(
            *(
                client.speak(audio, session=face, faceModelId=face, modelPreference=model)
                for face in MARKS
            )
        )
        for _ in MARKS:
            await client.until("response_end")
        return {
            face: [picture_of(frame) for frame in client.frames(session=face)] for face in MARKS
        }


@asynccontextmanager
async def kept_busy(
    service: LiveService, triton_model: str, inputs: dict[str, np.ndarray], instances: int = 1
) -> AsyncIterator[None]:
    """Meanwhile these instances have large requests of somebody else to answer, one after the
    other, so that sessions wait in line.
    """
    over = asyncio.Event()

    async def ask() -> None:
        while not over.is_set():
            await service.inference.infer(
                triton_model, inputs, deadline=asyncio.get_running_loop().time() + PATIENT_MS / 1000
            )

    asking = [asyncio.create_task(ask()) for _ in range(instances)]
    try:
        yield
    finally:
        over.set()
        await asyncio.gather(*asking)


async def until_shared(
    service: LiveService,
    triton_models: Sequence[str],
    ask: Callable[[], Awaitable[T]],
    is_shared: Callable[[dict[str, int]], bool],
) -> tuple[T, dict[str, int]]:
    """What `ask` gave, and how many requests each model had of it; asked anew until `is_shared` of
    the executions that each saved.

    Whoever asks a busy model meets the others in its line, unless the machine held one of them up
    in the meantime.
    """
    for _ in range(TRIES):
        before = {model: await service.statistics(model) for model in triton_models}
        given = await ask()
        after = {model: await service.statistics(model) for model in triton_models}
        requests = {model: after[model][0] - before[model][0] for model in triton_models}
        saved = {
            model: requests[model] - (after[model][1] - before[model][1]) for model in triton_models
        }
        if is_shared(saved):
            return given, requests
    raise AssertionError(f"executions saved in the last of {TRIES} tries: {saved}")
