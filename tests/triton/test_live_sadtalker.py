"""SadTalker with seeded weights in conversations through the real server; its renderer draws two frames, elsewhere a stand-in does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
import ws_client
from live_service import MARKS, LiveService, live_service, picture_of, talk, turns_at_once, until_drawn_by
from sadtalker_stand_ins import add_stand_ins
from seeded_models import BUILT_IN, SeededRepository
from ws_client import WsClient, connect, syllables

from orchestrator.models.sadtalker import SadTalker

HEAVY = ("sadtalker_photo", "sadtalker_renderer")
LIGHT = tuple(name for name in SadTalker.spec.triton_models if name not in HEAVY)
FUSED = ("sadtalker_expression", "sadtalker_key_points", "sadtalker_renderer")
BUSY_ROWS = 32
"""Coefficient windows of a request that keeps the mapping network busy for a tenth of a second while both sessions ask."""

TRIES = 60
PATIENCE_S = 240.0
"""For one message: a chunk of the real renderer on a machine with other work to do."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(seeded_repository: SeededRepository, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveService]:
    """All but the renderer and the photo's encoder is real."""
    repository: Path = tmp_path_factory.mktemp("with_stand_ins")
    seeded = seeded_repository("sadtalker", *LIGHT)
    for name in (*BUILT_IN, *LIGHT):
        (repository / name).symlink_to(seeded / name)
    add_stand_ins(repository)
    models = (*BUILT_IN, *SadTalker.spec.triton_models)
    async with live_service(repository, models, tmp_path_factory.mktemp("storage")) as running:
        await prepared(running, **{face: {"faceModelId": face} for face in MARKS}, own={})
        yield running


async def prepared(service: LiveService, **fields: dict[str, Any]) -> None:
    """Short turns until these faces are encoded: until then another model speaks."""
    async with connect(service.url) as client:
        for name, face in fields.items():
            for number in range(TRIES):
                turn = f"{name}-{number}"
                await client.speak(syllables(0.1), session=name, turnId=turn, modelPreference="sadtalker", **face)
                await client.until("response_end", turnId=turn)
                if {frame["model"] for frame in client.frames(turn, session=name)} == {"sadtalker"}:
                    break
            else:
                raise AssertionError(f"{name} was not encoded in {TRIES} turns")


@pytest.mark.parametrize("size", [256, 512])
async def test_a_turn_of_sadtalker_has_all_its_frames(service: LiveService, size: int) -> None:
    config = {"targetFps": 20, "resolution": {"width": size, "height": size}}
    await prepared(service, at_this_size={"config": config})
    async with connect(service.url) as client:
        await client.speak(syllables(1.5), modelPreference="sadtalker", config=config)
        end = await client.until("response_end")
    frames = client.frames()
    assert [frame["sequenceNumber"] for frame in frames] == list(range(30))
    assert {frame["model"] for frame in frames} == {"sadtalker"}
    assert {picture_of(frame).shape for frame in frames} == {(size, size, 3)}
    assert end["metrics"]["modelSwitches"] == 0


async def test_two_sessions_share_executions_and_each_keeps_its_face(service: LiveService) -> None:
    before = {name: await service.statistics(name) for name in FUSED}
    others = asyncio.create_task(keep_busy(service))
    together = await turns_at_once(service, 2.0, modelPreference="sadtalker")
    others.cancel()
    await asyncio.gather(others, return_exceptions=True)
    after = {name: await service.statistics(name) for name in FUSED}
    saved = {name: (after[name][0] - before[name][0]) - (after[name][1] - before[name][1]) for name in FUSED}
    assert saved["sadtalker_key_points"] > 0, saved
    assert sum(saved.values()) > saved["sadtalker_key_points"], saved
    assert {len(frames) for frames in together.values()} == {40}
    middle = np.s_[96:160, 96:160]
    red, blue = (np.mean([frame[middle].mean(axis=(0, 1)) for frame in together[face]], axis=0) for face in ("red", "blue"))
    assert red[0] - red[2] > 20.0 > -20.0 > blue[0] - blue[2]


async def keep_busy(service: LiveService) -> None:
    inputs = {"coefficients": np.zeros((BUSY_ROWS, 70, 27), np.float32), "canonical_key_points": np.zeros((BUSY_ROWS, 15, 3), np.float32)}
    while True:
        await service.inference.infer("sadtalker_key_points", inputs, deadline=asyncio.get_running_loop().time() + 60.0)


async def test_a_turn_may_change_to_sadtalker_and_back(service: LiveService) -> None:
    async with connect(service.url) as client:
        following = await talk(client, 0, 8, modelPreference="tpsm")
        await until_drawn_by(client, "tpsm", 8)
        following = await talk(client, following, 16, modelPreference="sadtalker")
        await until_drawn_by(client, "sadtalker", 8)
        await talk(client, following, 8, modelPreference="tpsm")
        await client.send({"type": "end_utterance", "sessionId": "session-1"})
        end = await client.until("response_end")
    frames = client.frames()
    assert [frame["sequenceNumber"] for frame in frames] == list(range(64))
    assert [model for model, _ in groupby(frame["model"] for frame in frames)] == ["tpsm", "sadtalker", "tpsm"]
    assert end["metrics"]["modelSwitches"] == 2


async def test_the_real_renderer_draws_a_short_turn(
    seeded_repository: SeededRepository, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws_client, "PATIENCE_S", PATIENCE_S)
    models = SadTalker.spec.triton_models
    repository = seeded_repository("sadtalker", *models)
    async with (
        live_service(repository, (*BUILT_IN, *models), tmp_path_factory.mktemp("storage")) as running,
        connect(running.url) as client,
    ):
        frames = await first_turn_of_sadtalker(client)
    assert [frame["sequenceNumber"] for frame in frames] == [0, 1]
    pictures = [picture_of(frame) for frame in frames]
    assert {picture.shape for picture in pictures} == {(256, 256, 3)}
    assert all(picture[64:192, 64:192].std() > 5.0 for picture in pictures), "the renderer drew something"


async def first_turn_of_sadtalker(client: WsClient) -> list[dict[str, Any]]:
    """Two frames; turns before it are spoken by another model while the networks look at the face."""
    for number in range(10 * TRIES):
        turn = f"turn-{number}"
        await client.speak(syllables(0.1), turnId=turn, modelPreference="sadtalker")
        await client.until("response_end", turnId=turn)
        frames = client.frames(turn)
        if {frame["model"] for frame in frames} == {"sadtalker"}:
            return frames
        await asyncio.sleep(0.1)
    raise AssertionError("the face was not encoded")
