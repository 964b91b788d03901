"""CPU time of idle sessions.

    python -m benchmarks.idle_sessions [--sessions 100] [--seconds 30]

Starts a service and measures it twice: without clients, and with that many clients that have sent
one turn and now only listen, each on its own connection. Prints the CPU time as a percentage of one
core, by process, and the CPU time per session and second in ms.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack
from typing import Final

from benchmarks.shared import command_line
from orchestrator.cli.bench.service_process import ServiceProcess, cpu_seconds, running_service
from orchestrator.client import SessionLimitError, connect

MAX_PERCENT: Final = 5.0
"""Highest accepted cost of a hundred idle sessions, in percent of one core."""

SETTLE_S: Final = 5.0
"""Pause after the last turn, before the measurement begins."""

SPEECH: Final = bytes(round(0.2 * 16_000) * 2)
"""200 ms of silence, enough to open a session."""

MAX_ATTEMPTS: Final = 100
"""Attempts to open a session; a service at capacity admits it a moment later."""


def main() -> int:
    """Print the figures; return 1 where the sessions cost more than `MAX_PERCENT`."""
    parser = command_line("idle_sessions", __doc__)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    os.environ |= {
        "LIPSYNC_MAX_SESSIONS_PER_USER": str(options.sessions),
        "LIPSYNC_MAX_CONCURRENT_SESSIONS": str(options.sessions),
    }
    with running_service([]) as service:
        alone, listening = asyncio.run(_measure(service, options.sessions, options.seconds))
    for name, figures in (("no session", alone), (f"{options.sessions} idle sessions", listening)):
        parts = ", ".join(f"{part} {percent:.2f} %" for part, percent in figures.items())
        print(f"{name}: {sum(figures.values()):.2f} % of one core ({parts})")
    cost = sum(listening.values()) - sum(alone.values())
    print(
        f"cost of the sessions: {cost:.2f} % of one core, "
        f"{1000.0 * cost / 100.0 / options.sessions:.3f} ms of CPU per session and second"
    )
    return 0 if cost * 100.0 / options.sessions < MAX_PERCENT else 1


async def _measure(
    service: ServiceProcess, sessions: int, seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    await asyncio.sleep(SETTLE_S)
    alone = await _cpu_percent(service.pid, seconds)
    async with AsyncExitStack() as clients:
        for _ in range(sessions):
            await _open(clients, service)
        await asyncio.sleep(SETTLE_S)
        return alone, await _cpu_percent(service.pid, seconds)


async def _open(clients: AsyncExitStack, service: ServiceProcess) -> None:
    client = await clients.enter_async_context(connect(service.url, service.token))
    session = client.session(user="demo", face="demo")
    for _ in range(MAX_ATTEMPTS):
        turn = session.turn()
        await turn.send(SPEECH)
        await turn.end()
        try:
            async for _frame in turn.frames():
                pass
        except SessionLimitError as error:
            await asyncio.sleep(min(0.5, error.retry_after_s or 0.5))
        else:
            return
    raise SystemExit(f"the service refused a session {MAX_ATTEMPTS} times: lower --sessions")


async def _cpu_percent(pid: int, seconds: float) -> dict[str, float]:
    """CPU time of the service by process, in percent of one core."""
    before, began_s = cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(seconds)
    after, passed_s = cpu_seconds(pid), time.monotonic() - began_s
    return {part: 100.0 * (after[part] - before.get(part, 0.0)) / passed_s for part in after}


if __name__ == "__main__":
    raise SystemExit(main())
