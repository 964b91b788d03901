"""SadTalker with seeded weights in conversations through the real server; its renderer draws two
frames, elsewhere a stand-in does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from live_service import (
    MARKS,
    PATIENT_MS,
    LiveService,
    kept_busy,
    live_service,
    talk,
    turn_of,
    turns_at_once,
    until_drawn_by,
    until_shared,
)
from sadtalker_stand_ins import add_stand_ins
from seeded_models import BUILT_IN, SeededRepository
from ws_client import connect

from orchestrator.models.sadtalker.adapter import SadTalker

NETWORKS = SadTalker.spec.triton_models
LIGHT = tuple(name for name in NETWORKS if name not in ("sadtalker_photo", "sadtalker_renderer"))
FUSED = ("sadtalker_expression", "sadtalker_key_points", "sadtalker_renderer")
BUSY_ROWS = 32
"""Coefficient windows of a request that keeps the mapping network busy for a tenth of a second
while both sessions ask.
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(
    seeded_repository: SeededRepository, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LiveService]:
    """All but the renderer and the photo's encoder is real."""
    repository: Path = tmp_path_factory.mktemp("with_stand_ins")
    seeded = seeded_repository("sadtalker", *LIGHT)
    for name in (*BUILT_IN, *LIGHT):
        (repository / name).symlink_to(seeded / name)
    add_stand_ins(repository)
    async with live_service(
        repository, (*BUILT_IN, *NETWORKS), tmp_path_factory.mktemp("storage")
    ) as running:
        yield running


@pytest.mark.parametrize("size", [256, 512])
async def test_a_turn_of_sadtalker_has_all_its_frames(service: LiveService, size: int) -> None:
    config = {"targetFps": 20, "resolution": {"width": size, "height": size}}
    pictures = await turn_of(service, "sadtalker", 1.5, config=config)
    assert [picture.shape for picture in pictures] == 30 * [(size, size, 3)]


async def test_two_sessions_of_sadtalker_share_executions_and_each_keeps_its_face(
    service: LiveService,
) -> None:
    for face in MARKS:
        await turn_of(service, "sadtalker", 0.1, faceModelId=face)
    inputs = {
        "coefficients": np.zeros((BUSY_ROWS, 70, 27), np.float32),
        "canonical_key_points": np.zeros((BUSY_ROWS, 15, 3), np.float32),
    }

    async def ask() -> dict[str, list[np.ndarray]]:
        async with kept_busy(service, "sadtalker_key_points", inputs):
            return await turns_at_once(service, "sadtalker", 2.0)

    together, _ = await until_shared(service, FUSED, ask, are_shared)
    assert {face: len(frames) for face, frames in together.items()} == dict.fromkeys(MARKS, 40)
    middle = np.s_[96:160, 96:160]
    red, blue = (
        np.mean([frame[middle].mean(axis=(0, 1)) for frame in together[face]], axis=0)
        for face in ("red", "blue")
    )
    assert red[0] - red[2] > 20.0 > -20.0 > blue[0] - blue[2]


def are_shared(saved: dict[str, int]) -> bool:
    """Who waited for the mapping network goes on together."""
    return (
        saved["sadtalker_key_points"] > 0
        and saved["sadtalker_expression"] + saved["sadtalker_renderer"] > 0
    )


async def test_a_turn_may_change_to_sadtalker_and_back(service: LiveService) -> None:
    await turn_of(service, "sadtalker", 0.1)
    async with connect(service.url, PATIENT_MS / 1000) as client:
        following = await talk(client, 0, 8, modelPreference="tpsm")
        await until_drawn_by(client, "tpsm", 8)
        following = await talk(client, following, 16, modelPreference="sadtalker")
        await until_drawn_by(client, "sadtalker", 8)
        await talk(client, following, 8, modelPreference="tpsm")
        await client.send({"type": "end_utterance", "sessionId": "session-1"})
        end = await client.until("response_end")
    frames = client.frames()
    assert [frame["sequenceNumber"] for frame in frames] == list(range(64))
    assert [model for model, _ in groupby(frame["model"] for frame in frames)] == [
        "tpsm",
        "sadtalker",
        "tpsm",
    ]
    assert end["metrics"]["modelSwitches"] == 2


async def test_the_real_renderer_draws_a_short_turn(
    seeded_repository: SeededRepository, tmp_path_factory: pytest.TempPathFactory
) -> None:
    repository = seeded_repository("sadtalker", *NETWORKS)
    async with live_service(
        repository, (*BUILT_IN, *NETWORKS), tmp_path_factory.mktemp("storage")
    ) as running:
        pictures = await turn_of(running, "sadtalker", 0.1)
    assert [picture.shape for picture in pictures] == 2 * [(256, 256, 3)]
    assert all(picture[64:192, 64:192].std() > 5.0 for picture in pictures), (
        "the renderer drew something"
    )
