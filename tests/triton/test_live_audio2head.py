"""Audio2Head with seeded weights in conversations through the real server; few frames, since a
chunk of key points takes seconds.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from itertools import groupby
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from live_service import (
    GIVE_UP_S,
    MARKS,
    PATIENT_MS,
    LiveService,
    live_service,
    picture_of,
    talk,
    until_drawn_by,
    until_shared,
)
from seeded_models import BUILT_IN, SeededRepository
from ws_client import WsClient, connect, syllables

from orchestrator.models.audio2head.adapter import Audio2Head

NETWORKS = Audio2Head.spec.triton_models
MOST_CHUNKS = 4
"""Of an execution, by the network's configuration."""

AHEAD_CHUNKS = 21
"""Of 100 ms: what it looks ahead."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def service(
    seeded_repository: SeededRepository, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LiveService]:
    repository = seeded_repository("audio2head", *NETWORKS)
    async with live_service(
        repository, (*BUILT_IN, *NETWORKS), tmp_path_factory.mktemp("storage")
    ) as running:
        await prepared(running)
        yield running


async def prepared(service: LiveService) -> None:
    """Silent turns, which ask no network, until the faces are encoded: until then another model
    speaks.
    """
    silence = bytes(len(syllables(0.1)))
    async with connect(service.url) as client:
        for name, face in {"own": {}, **{mark: {"faceModelId": mark} for mark in MARKS}}.items():
            async with asyncio.timeout(GIVE_UP_S):
                for number in itertools.count():
                    turn = f"{name}-{number}"
                    await client.speak(
                        silence, session=name, turnId=turn, modelPreference="audio2head", **face
                    )
                    await client.until("response_end", turnId=turn)
                    if {frame["model"] for frame in client.frames(turn, session=name)} == {
                        "audio2head"
                    }:
                        break
                    await asyncio.sleep(0.05)


async def test_two_sessions_share_an_execution_and_each_has_all_its_frames(
    service: LiveService,
) -> None:
    async def ask() -> dict[str, list[dict[str, Any]]]:
        other = asyncio.create_task(keep_busy(service))
        async with connect(service.url, PATIENT_MS / 1000) as client:
            await asyncio.gather(*(speak(client, face) for face in MARKS))
            for _ in MARKS:
                await client.until("response_end")
        await other
        return {face: client.frames(session=face) for face in MARKS}

    shared = "audio2head_key_points"
    frames, requests = await until_shared(service, (shared,), ask, lambda saved: saved[shared] == 1)
    assert requests == {shared: 3}
    drawn = [frame for face in MARKS for frame in frames[face]]
    assert [frame["sequenceNumber"] for frame in drawn] == [0, 1, 0, 1]
    assert {frame["model"] for frame in drawn} == {"audio2head"}
    assert {picture_of(frame).shape for frame in drawn} == {(256, 256, 3)}
    assert np.abs(picture_of(frames["red"][0]) - picture_of(frames["blue"][0])).mean() > 1.0


async def speak(client: WsClient, face: str) -> None:
    await client.speak(
        syllables(0.1),
        session=face,
        faceModelId=face,
        modelPreference="audio2head",
        config={"targetFps": 20},
    )


async def keep_busy(service: LiveService) -> None:
    """As many chunks of somebody else as one execution takes: long enough for both sessions to ask,
    and nobody shares it.
    """
    deadline = asyncio.get_running_loop().time() + PATIENT_MS / 1000
    chunk = Audio2Head().probe_inputs()["audio2head_key_points"]
    inputs = {name: np.repeat(value, MOST_CHUNKS, axis=0) for name, value in chunk.items()}
    await service.inference.infer("audio2head_key_points", inputs, deadline=deadline)


async def test_a_turn_changes_to_audio2head_and_back_and_has_all_its_frames(
    service: LiveService,
) -> None:
    async with connect(service.url, PATIENT_MS / 1000) as client:
        following = await talk(client, 0, 3, modelPreference="tpsm")
        await until_drawn_by(client, "tpsm", 3)
        following = await talk(client, following, AHEAD_CHUNKS, modelPreference="audio2head")
        await until_drawn_by(client, "audio2head", 4)
        await talk(client, following, 2, modelPreference="tpsm")
        await client.send({"type": "end_utterance", "sessionId": "session-1"})
        end = await client.until("response_end")
    frames = client.frames()
    used = [frame["model"] for frame in frames]
    assert [frame["sequenceNumber"] for frame in frames] == list(range(52))
    assert [model for model, _ in groupby(used)] == ["tpsm", "audio2head", "tpsm"]
    assert used.count("audio2head") >= 4
    assert {picture_of(frame).shape for frame in frames} == {(256, 256, 3)}
    assert end["metrics"]["modelSwitches"] == 2
