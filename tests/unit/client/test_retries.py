"""Attempts to connect come slower and slower, and end."""

from __future__ import annotations

import asyncio

from virtual_time import run_virtual

from orchestrator.client.retries import Retries


def test_waits_double_up_to_a_limit_and_end_in_time() -> None:
    async def script() -> None:
        loop, retries, times = asyncio.get_running_loop(), Retries(20.0), list[float]()
        began_s = loop.time()
        while await retries.wait():
            times.append(round(loop.time() - began_s, 3))
        assert times == [0.0, 0.2, 0.6, 1.4, 3.0, 6.2, 11.2, 16.2]

    run_virtual(script())


def test_after_an_answer_the_next_attempt_is_made_at_once_and_the_time_counts_anew() -> None:
    async def script() -> None:
        loop, retries = asyncio.get_running_loop(), Retries(1.0)
        while await retries.wait():
            pass
        await asyncio.sleep(60.0)
        retries.succeeded()
        began_s = loop.time()
        assert await retries.wait()
        assert loop.time() == began_s

    run_virtual(script())
