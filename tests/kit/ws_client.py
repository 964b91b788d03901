"""WebSocket client that sends JSON text with base64 audio in chunks of 100 ms."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np

FIRST_TIMESTAMP_MS = 1705312200000
CHUNK_S = 0.1
PATIENCE_S = 120.0


def syllables(seconds: float, sample_rate_hz: int = 16_000) -> bytes:
    """Something speech-like: a buzz with formants that opens and closes four times a second;
    s16le.
    """
    time_s = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    buzz = sum(np.sin(2 * np.pi * 120 * harmonic * time_s) / harmonic for harmonic in range(1, 30))
    samples = 0.2 * buzz * np.clip(np.sin(2 * np.pi * 4 * time_s), 0, 1)
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


@dataclass
class WsClient:
    """One connection; `received` keeps every message in order."""

    socket: aiohttp.ClientWebSocketResponse
    received: list[dict[str, Any]] = field(default_factory=list)
    patience_s: float = PATIENCE_S
    """Longest wait for one message."""

    async def send(self, message: dict[str, Any] | str) -> None:
        await self.socket.send_str(message if isinstance(message, str) else json.dumps(message))

    async def say(
        self,
        data: bytes,
        number: int = 0,
        *,
        session: str = "session-1",
        chunk: dict[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        audio = {
            "data": base64.b64encode(data).decode(),
            "timestamp": FIRST_TIMESTAMP_MS + round(number * CHUNK_S * 1000),
            "sequenceNumber": number,
            "sampleRate": 16000,
            "channels": 1,
            "format": "pcm",
        }
        message = {
            "type": "lipsync_audio",
            "sessionId": session,
            "userId": "demo",
            "faceModelId": "demo",
            "audioChunk": audio | (chunk or {}),
        }
        await self.send(message | fields)

    async def speak(
        self,
        audio: bytes,
        *,
        session: str = "session-1",
        real_time: bool = False,
        end: bool = True,
        **fields: Any,
    ) -> None:
        """A whole turn of 16 kHz mono PCM in 100 ms chunks."""
        size = round(CHUNK_S * 16_000) * 2
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for number, start in enumerate(range(0, len(audio), size)):
            if real_time:
                await asyncio.sleep(max(0.0, began_s + (number + 1) * CHUNK_S - loop.time()))
            await self.say(audio[start : start + size], number, session=session, **fields)
        if end:
            await self.send(
                {"type": "end_utterance", "sessionId": session, "timestamp": FIRST_TIMESTAMP_MS}
            )

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(self.patience_s):
            message: dict[str, Any] = await self.socket.receive_json()
        self.received.append(message)
        return message

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Read on until a message of this type whose fields have these values."""
        while True:
            message = await self.next()
            if message["type"] == kind and all(
                message.get(name) == value for name, value in fields.items()
            ):
                return message

    def frames(
        self, turn_id: str | None = None, session: str = "session-1"
    ) -> list[dict[str, Any]]:
        """Every frame received, of one session and perhaps one turn."""
        return [
            message
            for message in self.received
            if message["type"] == "response_video"
            and message["sessionId"] == session
            and turn_id in (None, message["turnId"])
        ]


@asynccontextmanager
async def connect(url: str, patience_s: float = PATIENCE_S) -> AsyncIterator[WsClient]:
    """`url` is the service's `http://host:port`, or that of its socket with what a query adds."""
    address = url if "/v1/ws" in url else f"{url}/v1/ws"
    async with aiohttp.ClientSession() as http, http.ws_connect(address, max_msg_size=0) as socket:
        yield WsClient(socket, patience_s=patience_s)
