"""The bounded queue: order, bound, overflow, discarding and closing."""

from __future__ import annotations

import asyncio

import pytest
from virtual_time import run_virtual

from orchestrator.core.channel import Channel, ChannelClosedError


def of_ten() -> Channel[int]:
    return Channel(10, float)


def test_items_leave_in_the_order_they_came() -> None:
    async def script() -> list[int]:
        channel = of_ten()
        for item in (1, 2, 3):
            await channel.put(item)
        return [await channel.get() for _ in range(3)]

    assert run_virtual(script()) == [1, 2, 3]


def test_put_waits_for_room() -> None:
    async def script() -> tuple[bool, float]:
        channel = of_ten()
        await channel.put(8)
        waiting = asyncio.create_task(channel.put(5))
        await asyncio.sleep(1)
        waited = not waiting.done()
        await channel.get()
        await waiting
        return waited, channel.fill

    assert run_virtual(script()) == (True, 0.5)


def test_an_item_heavier_than_the_channel_passes_when_it_is_empty() -> None:
    async def script() -> int:
        channel = of_ten()
        await channel.put(100)
        return await channel.get()

    assert run_virtual(script()) == 100


def test_full_channel_drops_the_oldest_droppable_items() -> None:
    async def script() -> tuple[list[int], tuple[int, ...]]:
        channel = of_ten()
        for item in (5, 3, 2):
            await channel.put(item)
        dropped = await channel.offer(4, droppable=lambda item: item != 5)
        return dropped, channel.items()

    assert run_virtual(script()) == ([3, 2], (5, 4))


def test_a_closed_channel_gives_what_it_holds_and_takes_nothing() -> None:
    async def script() -> int:
        channel = of_ten()
        await channel.put(1)
        await channel.close()
        with pytest.raises(ChannelClosedError):
            await channel.put(2)
        with pytest.raises(ChannelClosedError):
            await channel.offer(2, droppable=lambda _: True)
        held = await channel.get()
        with pytest.raises(ChannelClosedError):
            await channel.get()
        return held

    assert run_virtual(script()) == 1


def test_closing_wakes_a_reader_and_a_writer() -> None:
    async def script() -> list[bool]:
        empty, full = of_ten(), of_ten()
        await full.put(10)
        tasks = [asyncio.create_task(empty.get()), asyncio.create_task(full.put(1))]
        await asyncio.sleep(0)
        await empty.close()
        await full.close()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return [isinstance(result, ChannelClosedError) for result in results]

    assert run_virtual(script()) == [True, True]


def test_discard_removes_what_is_unwanted_and_makes_room() -> None:
    async def script() -> tuple[int, float]:
        channel = of_ten()
        for item in (1, 2, 3):
            await channel.put(item)
        return await channel.discard(lambda item: item % 2 == 1), channel.fill

    assert run_virtual(script()) == (2, 0.2)


def test_a_reader_that_gave_up_takes_nothing_from_the_next_one() -> None:
    async def script() -> int:
        channel = of_ten()
        impatient, patient = asyncio.create_task(channel.get()), asyncio.create_task(channel.get())
        await asyncio.sleep(0)
        impatient.cancel()
        await channel.put(7)
        return await patient

    assert run_virtual(script()) == 7
