"""Frames of a viewer while the embedded Triton fails in mid-turn.

    python -m benchmarks.faults URL PID

Runs against a running `lipsync serve` and injects one fault per turn. Prints a row per fault:
frames, holes in their numbers, longest gap between two frames, and the delays in ms until `static`
took over and until `tpsm` came back.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import aiohttp
import numpy as np
import psutil

from benchmarks.shared import command_line

TURN_S: Final = 12.0

FAULT_AT_S: Final = 3.0
"""Time of the fault from the start of the turn."""

REST_S: Final = 3.0
"""Pause between two turns."""


Fault: TypeAlias = Callable[[psutil.Process], None]
"""Injects a fault into the Triton of a service's process."""


@dataclass
class ViewedTurn:
    """Messages of one turn with their arrival times in seconds of the monotonic clock."""

    fault_s: float = 0.0
    """Time of the fault."""
    frames: list[tuple[float, int, str]] = field(default_factory=list)
    """Arrival, sequence number and model of each frame."""
    switches: list[tuple[float, str, str, str]] = field(default_factory=list)
    """Arrival, previous model, new model and reason of each switch."""


def main() -> None:
    """Inject every fault, one turn each, and print the table."""
    parser = command_line("faults", __doc__)
    parser.add_argument("url", help="http://host:port of the service")
    parser.add_argument("pid", type=int, help="process id of the service")
    options = parser.parse_args()
    service = psutil.Process(options.pid)
    print(
        f"{'fault':22}{'frames':>8}{'holes':>7}{'longest gap ms':>16}"
        f"{'static after ms':>17}{'tpsm back after ms':>20}  reasons"
    )
    for inject in (kill_stub, kill_stubs, kill_server, stop_server):
        turn = asyncio.run(watch(options.url, service, inject))
        print(_row(inject.__name__, turn), flush=True)
        time.sleep(REST_S)


def kill_stub(service: psutil.Process) -> None:
    """Send SIGKILL to one backend process of `tpsm`."""
    _stubs(service)[0].send_signal(signal.SIGKILL)


def kill_stubs(service: psutil.Process) -> None:
    """Send SIGKILL to all backend processes of `tpsm`."""
    for stub in _stubs(service):
        stub.send_signal(signal.SIGKILL)


def kill_server(service: psutil.Process) -> None:
    """Send SIGKILL to the server."""
    _server(service).send_signal(signal.SIGKILL)


def stop_server(service: psutil.Process) -> None:
    """Send SIGSTOP to the server."""
    _server(service).send_signal(signal.SIGSTOP)


async def watch(url: str, service: psutil.Process, inject: Fault) -> ViewedTurn:
    """Send one turn in real time, inject the fault in its middle, and record the messages."""
    turn = ViewedTurn()
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/v1/ws", max_msg_size=0) as socket,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(_speak(socket))
        tasks.create_task(_inject_later(turn, service, inject))
        async for text in socket:
            message = json.loads(text.data)
            if message["type"] == "response_video":
                turn.frames.append((time.monotonic(), message["sequenceNumber"], message["model"]))
            elif message["type"] == "model_switched":
                turn.switches.append(
                    (time.monotonic(), message["from"], message["to"], message["reason"])
                )
            elif message["type"] == "response_end":
                break
    return turn


async def _inject_later(turn: ViewedTurn, service: psutil.Process, inject: Fault) -> None:
    await asyncio.sleep(FAULT_AT_S)
    inject(service)
    turn.fault_s = time.monotonic()


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


def _row(name: str, turn: ViewedTurn) -> str:
    holes = sum(after[1] != before[1] + 1 for before, after in itertools.pairwise(turn.frames)) + (
        turn.frames[0][1] != 0
    )
    gap_ms = max(after[0] - before[0] for before, after in itertools.pairwise(turn.frames)) * 1000
    away = [at for at, _, to, _ in turn.switches if to == "static"]
    back = [at for at, _, to, _ in turn.switches if to == "tpsm"]
    reasons = ", ".join(f"{source}->{to}: {reason}" for _, source, to, reason in turn.switches)
    delays = f"{_after_ms(turn, away[:1]):>17}{_after_ms(turn, back[-1:]):>20}"
    return f"{name:22}{len(turn.frames):8}{holes:7}{gap_ms:16.0f}{delays}  {reasons or 'no switch'}"


def _after_ms(turn: ViewedTurn, times: list[float]) -> str:
    return f"{(times[0] - turn.fault_s) * 1000:.0f}" if times else "-"


def _server(service: psutil.Process) -> psutil.Process:
    return next(child for child in service.children() if child.name() == "tritonserver")


def _stubs(service: psutil.Process) -> list[psutil.Process]:
    running = [
        child for child in _server(service).children() if child.status() != psutil.STATUS_ZOMBIE
    ]
    return [
        child
        for child in running
        if any(part.endswith("/tpsm/1/model.py") for part in child.cmdline())
    ]


if __name__ == "__main__":
    main()
