"""Reports of a load client: every frame counted, latencies from the chunk that completed a frame."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from aiohttp import WSMsgType, web

from orchestrator.cli.bench.load_client import Load, _Client, _Message, run_load
from orchestrator.cli.bench.service_process import ORCHESTRATOR, cpu_seconds
from orchestrator.cli.bench.session_report import SessionReport

LOOK_AHEAD_MS = 112.5
SPEECH = np.sin(np.arange(16_000) / 20.0).astype(np.float32)


class Answering:
    """A service that sends frames by a rule and keeps what it was sent."""

    def __init__(self, frames: list[int], *, error: bool = False) -> None:
        self.received: list[dict[str, Any]] = []
        self.authorizations: list[str | None] = []
        self.speaking = self.most_speaking = 0
        self._frames, self._error = frames, error

    async def models(self, request: web.Request) -> web.Response:
        self.authorizations.append(request.headers.get("Authorization"))
        return web.json_response(
            {"models": [{"name": "tpsm", "isDefault": True, "lookAheadMs": LOOK_AHEAD_MS}]}
        )

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        self.authorizations.append(request.headers.get("Authorization"))
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.speaking += 1
        self.most_speaking = max(self.most_speaking, self.speaking)
        async for message in socket:
            assert message.type is WSMsgType.TEXT
            self.received.append(json.loads(message.data))
            if self.received[-1]["type"] == "end_utterance":
                self.speaking -= 1
                await self._answer(socket)
        return socket

    async def _answer(self, socket: web.WebSocketResponse) -> None:
        for number in self._frames:
            await socket.send_json(
                {
                    "type": "response_video",
                    "sequenceNumber": number,
                    "model": "tpsm",
                    "frameData": "AAAA",
                }
            )
        if self._error:
            await socket.send_json(
                {"type": "error", "errorCode": "TIMEOUT", "errorMessage": "too late"}
            )
        await socket.send_json({"type": "response_end"})

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        app = web.Application()
        app.add_routes([web.get("/v1/models", self.models), web.get("/v1/ws", self.socket)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def _ask(service: Answering, sessions: int = 1) -> list[SessionReport]:
    async with service.running() as url, asyncio.timeout(60):
        return await run_load(Load(url, sessions, 0.25, 256, 20.0, "jpeg"), SPEECH)


async def test_messages_have_the_documented_shape_and_come_in_real_time() -> None:
    service = Answering([0, 1, 2, 3, 4])
    await _ask(service)
    *chunks, end = service.received
    assert [chunk["audioChunk"]["sequenceNumber"] for chunk in chunks] == [0, 1, 2]
    assert np.diff([chunk["audioChunk"]["timestamp"] for chunk in chunks]).tolist() == [100, 100]
    assert chunks[0]["config"] == {
        "targetFps": 20.0,
        "resolution": {"width": 256, "height": 256},
        "format": "jpeg",
        "quality": 80,
    }
    assert {"sessionId", "userId", "faceModelId", "turnId"} <= chunks[0].keys()
    assert end["type"] == "end_utterance"


async def test_a_complete_turn_has_every_frame_and_a_first_one() -> None:
    reports = await _ask(Answering([0, 1, 2, 3, 4]), sessions=2)
    assert all(report.complete and report.frames == 5 for report in reports)
    assert all(0.0 < report.first_frame_ms < math.inf for report in reports)
    assert reports[0].models == {"tpsm"}


def test_latency_counts_from_the_chunk_that_completed_the_look_ahead() -> None:
    client = _Client(Load("", 1, 0.25, 256, 20.0, "jpeg"), 0, SPEECH[:4000], LOOK_AHEAD_MS / 1000.0)
    client._sent_s = [10.0, 20.0, 30.0, 40.0]  # three chunks and the end
    for number in range(5):
        client._frame(_Message("response_video", sequence_number=number), now_s=50.0)
    # Frame 0 needs audio up to 137.5 ms, so the second chunk (200 ms), frame 2 the third (250 ms),
    # the last one more than there is.
    assert client.report.latencies_ms == [30_000.0, 30_000.0, 20_000.0, 20_000.0, 10_000.0]
    assert client.report.first_frame_ms == 40_000.0


@pytest.mark.parametrize(
    "frames", [[0, 1, 3, 4], [1, 0, 2, 3, 4], [0, 1]], ids=["a hole", "out of order", "too few"]
)
async def test_a_turn_with_a_hole_is_not_complete(frames: list[int]) -> None:
    (report,) = await _ask(Answering(frames))
    assert not report.complete


async def test_errors_are_kept() -> None:
    (report,) = await _ask(Answering([0, 1, 2, 3, 4], error=True))
    assert report.faults == ["TIMEOUT: too late"]


async def test_a_token_opens_what_asks_for_one() -> None:
    service = Answering([0, 1, 2, 3, 4])
    async with service.running() as url:
        await run_load(Load(url, 1, 0.25, 256, 20.0, "jpeg", token="alpha"), SPEECH)
    assert service.authorizations == ["Bearer alpha", "Bearer alpha"]


def test_a_session_without_frames_met_no_target() -> None:
    report = SessionReport(expected_frames=5)
    assert report.percentile_ms(95) == math.inf
    assert not report.complete


def test_cpu_time_is_told_by_part() -> None:
    spent = cpu_seconds(os.getpid())
    assert spent[ORCHESTRATOR] > 0.0


async def test_however_many_sessions_there_are_all_speak_at_once() -> None:
    service = Answering(list(range(80)))
    async with service.running() as url:
        await run_load(
            Load(url, sessions=20, seconds=4.0, size=128, fps=20.0, video_format="jpeg"), SPEECH
        )
    assert service.most_speaking == 20
