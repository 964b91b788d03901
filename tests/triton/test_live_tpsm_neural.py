"""The neural thin-plate-spline model with seeded weights in conversations through the real server:
few frames, as each takes seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import groupby

import numpy as np
import pytest
import pytest_asyncio
from live_service import (
    MARKS,
    PATIENT_MS,
    LiveService,
    live_service,
    picture_of,
    talk,
    turn_of,
    turns_at_once,
    until_drawn_by,
    until_shared,
)
from seeded_models import SeededRepository
from ws_client import connect

from orchestrator.models.tpsm_neural.adapter import TpsmNeural

NEURAL = ("tpsm_neural_key_points", "tpsm_neural_source", "tpsm_neural_frames")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(
    seeded_repository: SeededRepository, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LiveService]:
    repository = seeded_repository("tpsm-neural", *NEURAL)
    async with live_service(
        repository, ("audio2motion", "tpsm", *NEURAL), tmp_path_factory.mktemp("storage")
    ) as running:
        yield running


async def test_a_turn_has_all_its_frames_and_another_changes_to_it_and_back(
    service: LiveService,
) -> None:
    assert [picture.shape for picture in await turn_of(service, "tpsm-neural", 0.25)] == 5 * [
        (256, 256, 3)
    ]
    async with connect(service.url, PATIENT_MS / 1000) as client:
        following = await talk(client, 0, 3, modelPreference="tpsm")
        await until_drawn_by(client, "tpsm", 3)
        following = await talk(client, following, 1, modelPreference="tpsm-neural")
        await until_drawn_by(client, "tpsm-neural", 1)
        await talk(client, following, 2, modelPreference="tpsm")
        await client.send({"type": "end_utterance", "sessionId": "session-1"})
        end = await client.until("response_end")
    frames = client.frames()
    assert [frame["sequenceNumber"] for frame in frames] == list(range(12))
    assert [model for model, _ in groupby(frame["model"] for frame in frames)] == [
        "tpsm",
        "tpsm-neural",
        "tpsm",
    ]
    assert {picture_of(frame).shape for frame in frames} == {(256, 256, 3)}
    assert end["metrics"]["modelSwitches"] == 2


async def test_two_sessions_share_an_execution_and_each_keeps_its_face(
    service: LiveService,
) -> None:
    alone = {face: await turn_of(service, "tpsm-neural", 0.05, faceModelId=face) for face in MARKS}

    async def ask() -> dict[str, list[np.ndarray]]:
        other = asyncio.create_task(keep_busy(service))
        drawn = await turns_at_once(service, "tpsm-neural", 0.05)
        await other
        return drawn

    together, requests = await until_shared(
        service, ("tpsm_neural_frames",), ask, lambda saved: saved["tpsm_neural_frames"] == 1
    )
    assert requests == {"tpsm_neural_frames": 3}
    for face in MARKS:
        ((one,), (same,)) = alone[face], together[face]
        assert np.abs(one - same).mean() < 1.0
    assert np.abs(together["red"][0] - together["blue"][0]).mean() > 5.0


async def keep_busy(service: LiveService) -> None:
    """One frame is seconds enough for both sessions to ask meanwhile."""
    inputs = TpsmNeural().probe_inputs()["tpsm_neural_frames"]
    await service.inference.infer(
        "tpsm_neural_frames", inputs, deadline=asyncio.get_running_loop().time() + PATIENT_MS / 1000
    )
