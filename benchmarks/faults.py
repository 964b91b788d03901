"""What a viewer sees when Triton is hurt in mid-word: `python -m benchmarks.faults URL PID`,
against a running `lipsync serve`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
import psutil

TURN_S = 12.0
HURT_AT_S = 3.0
REST_S = 3.0


@dataclass
class Seen:
    """One turn as its viewer saw it."""

    hurt_s: float = 0.0
    frames: list[tuple[float, int, str]] = field(default_factory=list)
    """Arrival, sequence number, model."""
    switches: list[tuple[float, str, str, str]] = field(default_factory=list)


def main() -> None:
    """Hurt it in every way, one turn each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="http://host:port of the service")
    parser.add_argument("pid", type=int, help="its process id")
    options = parser.parse_args()
    service = psutil.Process(options.pid)
    print(
        f"{'fault':22}{'frames':>8}{'holes':>7}{'longest gap ms':>16}"
        f"{'static after ms':>17}{'tpsm back after ms':>20}  reasons"
    )
    for hurt in (kill_stub, kill_stubs, kill_server, stop_server):
        print(_row(hurt.__name__, asyncio.run(watch(options.url, service, hurt))), flush=True)
        time.sleep(REST_S)


def kill_stub(service: psutil.Process) -> None:
    """SIGKILL to one renderer process."""
    _stubs(service)[0].send_signal(signal.SIGKILL)


def kill_stubs(service: psutil.Process) -> None:
    """SIGKILL to all renderer processes."""
    for stub in _stubs(service):
        stub.send_signal(signal.SIGKILL)


def kill_server(service: psutil.Process) -> None:
    """SIGKILL to the server."""
    _server(service).send_signal(signal.SIGKILL)


def stop_server(service: psutil.Process) -> None:
    """SIGSTOP to the server."""
    _server(service).send_signal(signal.SIGSTOP)


async def watch(url: str, service: psutil.Process, hurt: Callable[[psutil.Process], None]) -> Seen:
    """One turn in real time, hurt in the middle."""
    seen = Seen()
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/v1/ws", max_msg_size=0) as socket,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(_speak(socket))
        tasks.create_task(_hurt(seen, service, hurt))
        async for text in socket:
            message = json.loads(text.data)
            if message["type"] == "response_video":
                seen.frames.append((time.monotonic(), message["sequenceNumber"], message["model"]))
            elif message["type"] == "model_switched":
                seen.switches.append(
                    (time.monotonic(), message["from"], message["to"], message["reason"])
                )
            elif message["type"] == "response_end":
                break
    return seen


async def _hurt(
    seen: Seen, service: psutil.Process, hurt: Callable[[psutil.Process], None]
) -> None:
    await asyncio.sleep(HURT_AT_S)
    hurt(service)
    seen.hurt_s = time.monotonic()


async def _speak(socket: aiohttp.ClientWebSocketResponse) -> None:
    time_s = np.arange(round(16_000 * TURN_S)) / 16_000
    tone = 0.3 * np.sin(2 * np.pi * 220 * time_s) * np.clip(np.sin(2 * np.pi * 4 * time_s), 0, 1)
    audio, began_s = (tone * 32767).astype("<i2").tobytes(), time.monotonic()
    for number in range(round(TURN_S * 10)):
        await asyncio.sleep(max(0.0, began_s + 0.1 * (number + 1) - time.monotonic()))
        await socket.send_str(
            json.dumps(_chunk(audio[number * 3200 : (number + 1) * 3200], number))
        )
    await socket.send_str(json.dumps({"type": "end_utterance", "sessionId": "faults"}))


def _chunk(data: bytes, number: int) -> dict[str, Any]:
    coded = base64.b64encode(data).decode()
    audio = {
        "data": coded,
        "timestamp": 100 * number,
        "sequenceNumber": number,
        "sampleRate": 16000,
        "channels": 1,
        "format": "pcm",
    }
    return {
        "type": "lipsync_audio",
        "sessionId": "faults",
        "userId": "demo",
        "faceModelId": "demo",
        "audioChunk": audio,
    }


def _row(name: str, seen: Seen) -> str:
    holes = sum(after[1] != before[1] + 1 for before, after in itertools.pairwise(seen.frames)) + (
        seen.frames[0][1] != 0
    )
    gap_ms = max(after[0] - before[0] for before, after in itertools.pairwise(seen.frames)) * 1000
    away = [at for at, _, to, _ in seen.switches if to == "static"]
    back = [at for at, _, to, _ in seen.switches if to == "tpsm"]
    reasons = ", ".join(f"{source}->{to}: {reason}" for _, source, to, reason in seen.switches)
    return (
        f"{name:22}{len(seen.frames):8}{holes:7}{gap_ms:16.0f}"
        f"{_since(seen, away[:1]):>17}{_since(seen, back[-1:]):>20}  {reasons or 'no switch'}"
    )


def _since(seen: Seen, times: list[float]) -> str:
    return f"{(times[0] - seen.hurt_s) * 1000:.0f}" if times else "-"


def _server(service: psutil.Process) -> psutil.Process:
    return next(child for child in service.children() if child.name() == "tritonserver")


def _stubs(service: psutil.Process) -> list[psutil.Process]:
    living = [
        child for child in _server(service).children() if child.status() != psutil.STATUS_ZOMBIE
    ]
    return [
        child
        for child in living
        if any(part.endswith("/tpsm/1/model.py") for part in child.cmdline())
    ]


if __name__ == "__main__":
    main()
