"""What sessions cost that say nothing: `python -m benchmarks.idle_sessions --sessions 100 --seconds
30`.

A service of its own is watched twice: before anybody came, and with that many clients that have
spoken once and now listen, each on a connection of its own. What is printed is CPU time over wall
time, in percent of one core.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from contextlib import AsyncExitStack
from typing import Final

from orchestrator.cli.bench.service_process import ServiceProcess, cpu_seconds, running_service
from orchestrator.client import SessionLimitError, connect

MOST_PERCENT: Final = 5.0
"""Of one core, for a hundred sessions."""

SETTLE_S: Final = 5.0
"""After the last word, before the watch begins."""

SPEECH: Final = bytes(round(0.2 * 16_000) * 2)
"""Enough to open a session; nothing is heard in it."""

PATIENCE: Final = 100
"""Attempts to open a session: a machine that draws all the faces it carries lets the next one in a
moment later.
"""


def main() -> int:
    """Exit status 0 when a hundred such sessions cost less than a twentieth of a core."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.idle_sessions",
        description="CPU time of sessions that only listen.",
    )
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
        f"{1000.0 * cost / 100.0 / options.sessions:.3f} ms of CPU a second each"
    )
    return 0 if cost * 100.0 / options.sessions < MOST_PERCENT else 1


async def _measure(
    service: ServiceProcess, sessions: int, seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    await asyncio.sleep(SETTLE_S)
    alone = await _watch(service.pid, seconds)
    async with AsyncExitStack() as clients:
        for _ in range(sessions):
            await _open(clients, service)
        await asyncio.sleep(SETTLE_S)
        return alone, await _watch(service.pid, seconds)


async def _open(clients: AsyncExitStack, service: ServiceProcess) -> None:
    client = await clients.enter_async_context(connect(service.url, service.token))
    session = client.session(user="demo", face="demo")
    for _ in range(PATIENCE):
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
    raise SystemExit("the service lets nobody in any more")


async def _watch(pid: int, seconds: float) -> dict[str, float]:
    """Percent of one core by part."""
    before, began_s = cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(seconds)
    after, passed_s = cpu_seconds(pid), time.monotonic() - began_s
    return {part: 100.0 * (after[part] - before.get(part, 0.0)) / passed_s for part in after}


if __name__ == "__main__":
    raise SystemExit(main())
