"""Sound to pictures in one request: the same frames, batches of several sessions, and two requests
where the ensemble is missing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from demo_face import demo_face
from numpy.typing import NDArray
from watched_server import ANSWER_S, executions, until

from orchestrator.inference import NotCached, NotServed, Tensors
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.model_contract import Repository, read_repository
from orchestrator.inference.triton.inference import TritonInference
from orchestrator.models.base import FeatureWindows
from orchestrator.models.tpsm.adapter import SPEECH_ENSEMBLE, Tpsm, TpsmFace


@pytest.fixture(scope="module")
def face() -> TpsmFace:
    return Tpsm().prepare(demo_face(), 128)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(make_repository: Callable[[], Path]) -> AsyncIterator[EmbeddedTriton]:
    async with EmbeddedTriton(
        make_repository(), ("audio2motion", "tpsm", SPEECH_ENSEMBLE)
    ) as supervised:
        assert supervised.has_ready(SPEECH_ENSEMBLE), supervised.health()
        yield supervised


@pytest_asyncio.fixture(loop_scope="session")
async def speaking(server: EmbeddedTriton) -> AsyncIterator[TritonInference]:
    async with TritonInference([server], read_repository(server._path)) as inference:
        yield inference


class Asked:
    """An adapter's requests, counted; with `two_by_two` as if no server had the ensemble."""

    def __init__(self, inference: TritonInference, *, two_by_two: bool = False) -> None:
        self.inference, self.two_by_two, self.models = inference, two_by_two, list[str]()

    async def __call__(self, model: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if model == SPEECH_ENSEMBLE and self.two_by_two:
            raise NotServed(model)
        self.models.append(model)
        return await self.inference.infer(model, inputs, deadline=time.monotonic() + ANSWER_S)


def windows(count: int, seed: int = 0) -> FeatureWindows:
    rng = np.random.default_rng(seed)
    return FeatureWindows(
        rows=rng.normal(-8.0, 3.0, (count, 88, 80)).astype(np.float32),
        slot=np.arange(count) * 5 + 100,
        phase=rng.random(count, dtype=np.float32),
        idle_s=seed + np.arange(count) / 20.0,
        silent=np.zeros(count, bool),
    )


async def taught(inference: TritonInference, face: TpsmFace) -> None:
    """Both instances know the face."""
    for seed in range(3):
        await Tpsm().generate(Asked(inference, two_by_two=True), windows(2, seed), face, None)


async def test_a_fresh_clone_starts_without_loading_anything_twice(server: EmbeddedTriton) -> None:
    assert server.last_fault == ""


@pytest.mark.parametrize("count", [1, 2, 4])
async def test_one_request_brings_what_two_bring(
    speaking: TritonInference, face: TpsmFace, count: int
) -> None:
    await taught(speaking, face)
    one, two = Asked(speaking), Asked(speaking, two_by_two=True)
    together, _ = await Tpsm().generate(one, windows(count), face, None)
    apart, _ = await Tpsm().generate(two, windows(count), face, None)
    assert (one.models, two.models) == ([SPEECH_ENSEMBLE], ["audio2motion", "tpsm"])
    assert together.shape == (count, 128, 128, 3)
    np.testing.assert_array_equal(together, apart)


async def test_speech_of_several_sessions_is_fused(
    server: EmbeddedTriton, speaking: TritonInference, face: TpsmFace
) -> None:
    await taught(speaking, face)
    before = {model: (await executions(server, model))[1] for model in ("audio2motion", "tpsm")}
    drawn = await asyncio.gather(
        *(Tpsm().generate(Asked(speaking), windows(2, seed), face, None) for seed in range(32))
    )
    for model, then in before.items():
        assert (await executions(server, model))[1] - then < 32, (
            f"no two requests to {model} were fused"
        )
    alone, _ = await Tpsm().generate(Asked(speaking), windows(2, 7), face, None)
    assert np.abs(drawn[7][0].astype(int) - alone).max() <= 1


async def test_an_unknown_face_is_told_through_the_ensemble(speaking: TritonInference) -> None:
    inputs = {
        "mel": np.zeros((1, 88, 80), np.float32),
        "moments": np.zeros((1, 2, 5), np.float32),
        "face": np.full((1, 32), 9, np.uint8),
    }
    with pytest.raises(NotCached):
        await speaking.infer(SPEECH_ENSEMBLE, inputs, deadline=time.monotonic() + ANSWER_S)


async def test_a_server_without_the_ensemble_is_not_asked_for_it(
    inference: TritonInference, repository: Repository, face: TpsmFace
) -> None:
    assert SPEECH_ENSEMBLE in repository.models
    await taught(inference, face)
    with pytest.raises(NotServed):
        await inference.infer(
            SPEECH_ENSEMBLE,
            {"mel": windows(1).rows, **_one_moment(face)},
            deadline=time.monotonic() + ANSWER_S,
        )
    frames, _ = await Tpsm().generate(Asked(inference), windows(2), face, None)
    assert frames.shape == (2, 128, 128, 3)


async def test_it_comes_and_goes_with_its_members(
    server: EmbeddedTriton,
    speaking: TritonInference,
    face: TpsmFace,
    stubs_of: Callable[[int, str], list[int]],
) -> None:
    await taught(speaking, face)
    pid = server.health().pid
    assert pid is not None
    renderers = stubs_of(pid, "tpsm")
    os.kill(stubs_of(pid, "audio2motion")[0], signal.SIGKILL)
    await until(lambda: not server.has_ready(SPEECH_ENSEMBLE))
    await until(lambda: server.has_ready(SPEECH_ENSEMBLE))
    asked = Asked(speaking)
    await Tpsm().generate(asked, windows(2), face, None)
    assert asked.models == [SPEECH_ENSEMBLE]
    assert (server.restarts, stubs_of(pid, "tpsm")) == (0, renderers), (
        "the other member was left alone"
    )


def _one_moment(face: TpsmFace) -> dict[str, NDArray[Any]]:
    return {"moments": np.zeros((1, 1, 5), np.float32), "face": face.digest[None]}
