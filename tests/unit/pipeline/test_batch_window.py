"""Chunks of many sessions begin together; those of a few never wait."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from virtual_time import run_virtual

from orchestrator.pipeline.batch_window import RECENT_CHUNKS, BatchWindow

WINDOW_MS = 25.0
CHUNK_S = 0.1
SPEECH_S = 6.0


def starts_of(sessions: int, window_ms: float = WINDOW_MS) -> list[tuple[float, float]]:
    """When each chunk arrived and when its work began; sessions send at moments of their own."""
    began: list[tuple[float, float]] = []

    async def speak(window: BatchWindow, number: int) -> None:
        now = asyncio.get_running_loop().time
        await asyncio.sleep(CHUNK_S * ((0.37 * number) % 1.0))
        for _ in range(round(SPEECH_S / CHUNK_S)):
            arrived_s = now()
            await window.gather(arrived_s)
            began.append((arrived_s, now()))
            await asyncio.sleep(arrived_s + CHUNK_S - now())

    async def script() -> None:
        window = BatchWindow(window_ms)
        await asyncio.gather(*(speak(window, number) for number in range(sessions)))

    run_virtual(script())
    return began[2 * RECENT_CHUNKS :]


@pytest.mark.parametrize("sessions", [1, 2, 4])
def test_few_sessions_never_wait(sessions: int) -> None:
    assert all(began_s == arrived_s for arrived_s, began_s in starts_of(sessions))


@pytest.mark.parametrize(("sessions", "together"), [(8, 2.0), (16, 4.0), (40, 10.0)])
def test_many_begin_together_and_none_waits_longer_than_the_window(
    sessions: int, together: float
) -> None:
    starts = starts_of(sessions)
    waits_ms = [1000.0 * (began_s - arrived_s) for arrived_s, began_s in starts]
    assert min(waits_ms) >= 0.0
    assert max(waits_ms) <= WINDOW_MS + 1e-6
    assert len(starts) / len(Counter(began_s for _, began_s in starts)) == pytest.approx(
        together, rel=0.25
    )


def test_a_window_of_no_length_keeps_nobody() -> None:
    assert all(began_s == arrived_s for arrived_s, began_s in starts_of(16, window_ms=0.0))


def test_what_has_waited_already_goes_at_once() -> None:
    async def script() -> float:
        window, now = BatchWindow(WINDOW_MS), asyncio.get_running_loop().time
        for _ in range(RECENT_CHUNKS):
            await window.gather(now() - 1.0)
        began_s = now()
        await window.gather(began_s - 1.0)
        return now() - began_s

    assert run_virtual(script()) == 0.0


def test_who_gives_up_does_not_keep_the_others_from_starting() -> None:
    async def script() -> tuple[bool, bool]:
        window, now = BatchWindow(WINDOW_MS), asyncio.get_running_loop().time
        for _ in range(RECENT_CHUNKS):
            await window.gather(now() - 1.0)
        waiting = [asyncio.create_task(window.gather(now())) for _ in range(2)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait(waiting)
        return waiting[0].cancelled(), waiting[1].cancelled()

    assert run_virtual(script()) == (True, False)
