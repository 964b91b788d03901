"""Wav2Lip with seeded weights in conversations through the real server: whole turns, two at once,
and in mid-turn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import groupby, pairwise

import numpy as np
import pytest
import pytest_asyncio
from live_service import (
    MARKS,
    LiveService,
    kept_busy,
    live_service,
    picture_of,
    talk,
    turn_of,
    turns_at_once,
    until_drawn_by,
    until_shared,
)
from seeded_models import SeededRepository
from ws_client import connect, syllables

INSTANCES = 2
BUSY_ROWS = 16
"""Rows of a request that keeps an instance busy while both sessions ask: as many as one execution
takes, so that it shares none.
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(
    seeded_repository: SeededRepository, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LiveService]:
    repository = seeded_repository("wav2lip", "wav2lip")
    async with live_service(
        repository, ("audio2motion", "tpsm", "wav2lip"), tmp_path_factory.mktemp("storage")
    ) as running:
        yield running


@pytest.mark.parametrize("size", [256, 512])
async def test_a_turn_has_all_its_frames(service: LiveService, size: int) -> None:
    async with connect(service.url) as client:
        resolution = {"resolution": {"width": size, "height": size}}
        await client.speak(
            syllables(2.0 if size == 256 else 0.5), modelPreference="wav2lip", config=resolution
        )
        end = await client.until("response_end")
    frames = client.frames()
    assert [frame["sequenceNumber"] for frame in frames] == list(range(40 if size == 256 else 10))
    assert {frame["model"] for frame in frames} == {"wav2lip"}
    assert {picture_of(frame).shape for frame in frames} == {(size, size, 3)}
    assert end["metrics"]["modelSwitches"] == 0


async def test_what_two_sessions_ask_of_busy_instances_is_one_execution_and_each_keeps_its_face(
    service: LiveService,
) -> None:
    alone = {face: await turn_of(service, "wav2lip", 0.5, faceModelId=face) for face in MARKS}
    inputs = {
        "mel": np.zeros((BUSY_ROWS, 16, 80), np.float32),
        "face": np.zeros((BUSY_ROWS, 96, 96, 3), np.uint8),
    }

    async def ask() -> dict[str, list[np.ndarray]]:
        async with kept_busy(service, "wav2lip", inputs, INSTANCES):
            return await turns_at_once(service, "wav2lip", 0.5)

    together, _ = await until_shared(service, ("wav2lip",), ask, lambda saved: saved["wav2lip"] > 0)
    for face in MARKS:
        assert len(together[face]) == len(alone[face]) == 10
        assert (
            max(
                np.abs(one - other).mean()
                for one, other in zip(together[face], alone[face], strict=True)
            )
            < 1.0
        )
    assert (
        min(np.abs(red - blue).mean() for red, blue in zip(*together.values(), strict=True)) > 20.0
    )


@pytest.mark.parametrize("other", ["tpsm", "static"])
async def test_a_turn_may_change_to_it_and_back(service: LiveService, other: str) -> None:
    async with connect(service.url) as client:
        following = await talk(client, 0, 8, modelPreference=other)
        await until_drawn_by(client, other, 8)
        following = await talk(client, following, 8, modelPreference="wav2lip")
        await until_drawn_by(client, "wav2lip", 8)
        await talk(client, following, 8, modelPreference=other)
        await client.send({"type": "end_utterance", "sessionId": "session-1"})
        end = await client.until("response_end")
    frames = client.frames()
    assert [frame["sequenceNumber"] for frame in frames] == list(range(48))
    assert [model for model, _ in groupby(frame["model"] for frame in frames)] == [
        other,
        "wav2lip",
        other,
    ]
    switched = [message for message in client.received if message["type"] == "model_switched"]
    assert [(message["from"], message["to"], message["reason"]) for message in switched] == [
        (other, "wav2lip", "REQUESTED"),
        ("wav2lip", other, "REQUESTED"),
    ]
    assert end["metrics"]["modelSwitches"] == 2
    assert largest_step([picture_of(frame) for frame in frames]) < 3.0


def largest_step(pictures: list[np.ndarray]) -> float:
    """Between neighbouring frames, in grey levels, where no mouth is and no lid: hair and
    background.
    """
    return max(float(np.abs(after - before)[:70].mean()) for before, after in pairwise(pictures))
