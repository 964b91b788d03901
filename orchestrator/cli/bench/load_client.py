"""Load generator: clients that send speech in real time and record the arrival of every frame.

They share one process and one event loop and decode no pictures, so that they use little of the
machine that they measure.
"""

from __future__ import annotations

import asyncio
import base64
import math
import time
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import msgspec
import numpy as np

from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.cli.bench.session_report import SessionReport
from orchestrator.core.types import Samples

CHUNK_S: Final = 0.1

STAGGER_S: Final = 0.137
"""Interval between the starts of two sessions. Not a multiple of `CHUNK_S`, so that chunks of
different sessions do not arrive together.
"""

ALL_STARTED_S: Final = 1.0
"""Upper bound of a session's start, a multiple of `CHUNK_S`: any number of sessions overlap."""

PATIENCE_S: Final = 15.0
"""Wait after the last chunk. A turn that is incomplete then counts as it is."""

CONNECT_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Load:
    """Parameters of the sessions."""

    url: str
    """URL of the service, `http://host:port`."""
    sessions: int
    seconds: float
    """Seconds of speech in each session."""
    size: int
    fps: float
    video_format: str
    user_id: str = "demo"
    face_id: str = "demo"
    token: str = ""
    """Token of that user; empty for a service without tokens."""


class _Message(msgspec.Struct, rename="camel"):
    """Fields of a server message that the client reads; the picture is skipped."""

    type: str
    sequence_number: int = -1
    model: str = ""
    error_code: str = ""
    error_message: str = ""
    reason: str = ""


_decoder: Final = msgspec.json.Decoder(_Message)


async def run_load(load: Load, speech: Samples) -> list[SessionReport]:
    """Run all sessions to their end. `speech` is 16 kHz; sessions start at different places in it.

    Raises `aiohttp.ClientError` where the service does not respond, or refuses the token.
    """
    timeout = aiohttp.ClientTimeout(connect=CONNECT_TIMEOUT_S)
    headers = {"Authorization": f"Bearer {load.token}"} if load.token else {}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as http:
        look_ahead_s = await _look_ahead_s(http, load.url)
        clients = [
            _Client(load, index, _excerpt(speech, load, index), look_ahead_s)
            for index in range(load.sessions)
        ]
        async with asyncio.TaskGroup() as tasks:
            for client in clients:
                tasks.create_task(client.run(http), name=client.session_id)
    return [client.report for client in clients]


async def _look_ahead_s(http: aiohttp.ClientSession, url: str) -> float:
    async with http.get(f"{url}/v1/models", raise_for_status=True) as response:
        models = (await response.json())["models"]
    return next(float(model["lookAheadMs"]) for model in models if model["isDefault"]) / 1000.0


def _excerpt(speech: Samples, load: Load, index: int) -> Samples:
    """Speech of the session's length; the recording repeats where it is too short."""
    count = round(load.seconds * SAMPLE_RATE_HZ)
    start = index * len(speech) // load.sessions
    excerpt: Samples = speech[np.arange(start, start + count) % len(speech)]
    return excerpt


class _Client:
    """One session: one turn of speech, sent chunk by chunk in real time, as a microphone would."""

    def __init__(self, load: Load, index: int, speech: Samples, look_ahead_s: float) -> None:
        self.session_id = f"load-{index}-{time.time_ns()}"
        self._load, self._look_ahead_s = load, look_ahead_s
        self._delay_s = index * STAGGER_S % ALL_STARTED_S
        self._chunks = _messages(self.session_id, load, speech)
        self._sent_s: list[float] = []
        self.report = SessionReport(
            expected_frames=math.ceil(len(speech) / SAMPLE_RATE_HZ * load.fps - 1e-3)
        )

    async def run(self, http: aiohttp.ClientSession) -> None:
        """Connect, send and receive; faults are recorded in the report."""
        await asyncio.sleep(self._delay_s)
        try:
            async with http.ws_connect(
                f"{self._load.url}/v1/ws", max_msg_size=0, compress=0
            ) as socket:
                speaking = asyncio.create_task(self._speak(socket), name=f"speak {self.session_id}")
                try:
                    async with asyncio.timeout(self._load.seconds + PATIENCE_S):
                        await self._listen(socket)
                finally:
                    speaking.cancel()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            self.report.faults.append(f"{type(error).__name__} {error}".strip())

    async def _speak(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number, message in enumerate(self._chunks):
            spoken_s = min((number + 1) * CHUNK_S, self._load.seconds)
            await asyncio.sleep(max(0.0, began_s + spoken_s - loop.time()))
            self._sent_s.append(loop.time())
            await socket.send_str(message)
        self._sent_s.append(loop.time())
        await socket.send_str(
            _text({"type": "end_utterance", "sessionId": self.session_id, "timestamp": _now_ms()})
        )

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        loop = asyncio.get_running_loop()
        async for raw in socket:
            if raw.type is not aiohttp.WSMsgType.TEXT:
                continue
            now_s = loop.time()
            message = _decoder.decode(raw.data)
            self.report.bytes_received += len(raw.data)
            if message.type == "response_video":
                self._frame(message, now_s)
            elif message.type == "error":
                self.report.faults.append(f"{message.error_code}: {message.error_message}")
            elif message.type == "model_switched":
                self.report.faults.append(f"model_switched: {message.reason}")
            elif message.type == "response_end":
                return
        self.report.faults.append("the connection was closed before the turn's end")

    def _frame(self, message: _Message, now_s: float) -> None:
        report = self.report
        report.holes += message.sequence_number != report.frames
        report.models.add(message.model)
        if not report.latencies_ms:
            report.first_frame_ms = (now_s - self._sent_s[0]) * 1000.0
        report.latencies_ms.append((now_s - self._ready_s(message.sequence_number)) * 1000.0)

    def _ready_s(self, frame: int) -> float:
        """Time of sending the chunk with the last sample that the frame needs.

        That sample is one look-ahead after the frame's centre, or the last one of the turn.
        """
        needed_s = (frame + 0.5) / self._load.fps + self._look_ahead_s
        return self._sent_s[min(math.ceil(needed_s / CHUNK_S - 1e-6) - 1, len(self._sent_s) - 1)]


def _messages(session_id: str, load: Load, speech: Samples) -> list[str]:
    """The turn's chunks as text, encoded before the load begins."""
    step, began_ms = round(CHUNK_S * SAMPLE_RATE_HZ), _now_ms()
    pcm = np.rint(speech * 32767.0).astype("<i2")
    return [
        _text(
            _audio(
                session_id,
                load,
                pcm[start : start + step].tobytes(),
                number,
                began_ms + round(1000.0 * CHUNK_S * number),
            )
        )
        for number, start in enumerate(range(0, len(pcm), step))
    ]


def _audio(
    session_id: str, load: Load, data: bytes, number: int, timestamp_ms: int
) -> dict[str, Any]:
    return {
        "type": "lipsync_audio",
        "sessionId": session_id,
        "userId": load.user_id,
        "faceModelId": load.face_id,
        "turnId": "turn-001",
        "config": {
            "targetFps": load.fps,
            "resolution": {"width": load.size, "height": load.size},
            "format": load.video_format,
            "quality": 80,
        },
        "audioChunk": {
            "data": base64.b64encode(data).decode(),
            "timestamp": timestamp_ms,
            "sequenceNumber": number,
            "sampleRate": SAMPLE_RATE_HZ,
            "channels": 1,
            "format": "pcm",
        },
    }


def _text(message: dict[str, Any]) -> str:
    return msgspec.json.encode(message).decode()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
