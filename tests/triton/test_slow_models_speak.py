"""A renderer that is far from real time speaks whole turns where a chunk may take that long, and
gives way where it may not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp.test_utils import TestServer
from tiny_models import LABOUR, add_labour
from ws_client import connect, syllables

from orchestrator.core.config import ServiceConfig
from orchestrator.core.types import FaceModel, LipSyncModel, MelSpec
from orchestrator.inference import Inference, Tensors
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.triton.inference import TritonInference
from orchestrator.models import ADAPTERS
from orchestrator.models.base import (
    AudioWindow,
    FeatureWindows,
    Frames,
    Infer,
    Licences,
    ModelSpec,
    ModelState,
)
from orchestrator.server.app import build_app

FRAMES = 5
BUILT_IN = ("audio2motion", "tpsm")

OpenService = Callable[[int], AbstractAsyncContextManager[str]]


@dataclass(frozen=True)
class Grey:
    """A face of which only its size matters."""

    size: int
    nbytes: int = 0


class Labourer:
    """Grey pictures, as light as a network says that takes a quarter of a second of CPU for
    each.
    """

    spec = ModelSpec(
        model=LipSyncModel.own("labourer"),
        triton_models=(LABOUR,),
        features=MelSpec(),
        window=AudioWindow(frames=5, ahead_frames=2),
        quality=0.1,
        min_size=64,
        licences=Licences(code="ours", weights="ours", commercial=True),
    )

    def prepare(self, face: FaceModel, size: int) -> Grey:
        return Grey(size)

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: Grey, state: ModelState
    ) -> tuple[Frames, ModelState]:
        mouths = np.linspace(0.2, 0.8, len(windows), dtype=np.float32).reshape(-1, 1, 1)
        lights = (await infer(LABOUR, {"mouth": mouths}))["light"]
        return np.broadcast_to(
            np.uint8(255 * lights)[..., None], (len(windows), face.size, face.size, 3)
        ), state

    def probe_inputs(self) -> dict[str, Tensors]:
        return {LABOUR: {"mouth": np.zeros((1, 1, 1), np.float32)}}


@pytest.fixture
def open_service(
    make_repository: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> OpenService:
    """The whole service with the embedded Triton; takes the time that a chunk may have, gives its
    URL.
    """
    monkeypatch.setitem(ADAPTERS, Labourer.spec.model, Labourer())
    repository = make_repository()
    add_labour(repository)

    @asynccontextmanager
    async def inference() -> AsyncIterator[Inference]:
        async with (
            EmbeddedTriton(repository, (*BUILT_IN, LABOUR)) as server,
            TritonInference([server], read_repository(repository)) as door,
        ):
            assert server.has_ready(LABOUR), server.health().models
            yield door

    @asynccontextmanager
    async def service(chunk_deadline_ms: int) -> AsyncIterator[str]:
        config = ServiceConfig(
            storage=tmp_path,
            model_repository=repository,
            chunk_deadline_ms=chunk_deadline_ms,
            capacity_probe=False,
        )
        async with TestServer(build_app(config, inference)) as server:
            yield str(server.make_url("")).rstrip("/")

    return service


def config(coding: str) -> dict[str, Any]:
    return {"targetFps": 20, "resolution": {"width": 256, "height": 256}, "format": coding}


async def test_every_frame_comes_however_long_each_takes(open_service: OpenService) -> None:
    async with open_service(60_000) as url:
        for coding in ("jpeg", "h264"):
            async with connect(url) as client:
                await client.speak(
                    syllables(FRAMES / 20),
                    modelPreference="labourer",
                    turnId=coding,
                    config=config(coding),
                )
                end = await client.until("response_end")
            frames = client.frames(coding)
            assert [frame["sequenceNumber"] for frame in frames] == list(range(FRAMES))
            assert {(frame["model"], frame["format"], frame["width"]) for frame in frames} == {
                ("labourer", coding, 256)
            }
            assert (end["metrics"]["framesGenerated"], end["metrics"]["framesDropped"]) == (
                FRAMES,
                0,
            )
            assert not [
                message
                for message in client.received
                if message["type"] in ("error", "model_switched")
            ]


async def test_a_model_that_is_too_slow_for_live_speech_gives_way_for_good(
    open_service: OpenService,
) -> None:
    async with open_service(150) as url:
        async with connect(url) as client:
            await client.speak(syllables(2.0), modelPreference="labourer", turnId="late")
            await client.until("response_end")
        async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/health") as answer:
            health = await answer.json()
    frames = client.frames("late")
    assert [frame["sequenceNumber"] for frame in frames] == list(range(40))
    assert {frame["model"] for frame in frames} <= {"tpsm", "static"}
    assert not health["models"]["labourer"]["available"]
