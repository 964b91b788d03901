"""The cache's promise is a budget: these tests count every byte, and every call that one flight
saves.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from orchestrator.core.cache import LruCache, SingleFlight


def sized(
    max_items: int = 3, max_bytes: int = 100, ttl_s: float | None = None
) -> LruCache[str, bytes]:
    return LruCache(max_items=max_items, max_bytes=max_bytes, size_of=len, ttl_s=ttl_s)


def test_the_least_recently_used_value_goes_first() -> None:
    cache = sized(max_items=2)
    cache.put("a", b"1")
    cache.put("b", b"2")
    assert cache.get("a") == b"1"
    cache.put("c", b"3")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (b"1", None, b"3")


def test_a_value_makes_room_for_itself_by_bytes() -> None:
    cache = sized(max_items=10, max_bytes=100)
    for key in "abcd":
        cache.put(key, bytes(25))
    cache.put("e", bytes(60))
    assert [key in cache for key in "abcde"] == [False, False, False, True, True]
    assert cache.total_bytes == 85


def test_a_value_bigger_than_the_cache_is_not_held_and_evicts_only_its_own_predecessor() -> None:
    cache = sized()
    cache.put("a", bytes(10))
    cache.put("b", bytes(20))
    assert cache.put("b", bytes(101)) is False
    assert "a" in cache and "b" not in cache
    assert cache.total_bytes == 10


def test_a_replaced_value_is_counted_once() -> None:
    cache = sized()
    cache.put("a", bytes(90))
    cache.put("a", bytes(40))
    assert (len(cache), cache.total_bytes) == (1, 40)


def test_a_value_is_gone_exactly_when_its_time_is_over() -> None:
    cache = sized(ttl_s=5.0)
    cache.put("a", b"1", now=10.0)
    assert cache.get("a", now=14.999) == b"1"
    assert cache.get("a", now=15.0) is None
    assert cache.total_bytes == 0


def test_values_are_forgotten_by_a_property_of_their_keys() -> None:
    cache = sized(max_items=9)
    for key in ("ann-1", "ann-2", "bob-1"):
        cache.put(key, bytes(5))
    assert cache.discard_where(lambda key: key.startswith("ann")) == 2
    assert (len(cache), cache.total_bytes) == (1, 5)


def test_a_cache_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="max_bytes 0"):
        sized(max_bytes=0)


def test_ten_thousand_random_operations_never_exceed_the_budget_and_count_exactly() -> None:
    rng = random.Random(7)
    cache: LruCache[int, bytes] = LruCache(max_items=20, max_bytes=5_000, size_of=len, ttl_s=50.0)
    for step in range(10_000):
        key, now = rng.randrange(60), step * 0.1
        operation = rng.random()
        if operation < 0.6:
            cache.put(
                key, bytes(rng.choice([0, 1, rng.randrange(700), rng.randrange(6_000)])), now=now
            )
        elif operation < 0.9:
            cache.get(key, now=now)
        else:
            cache.discard(key)
        held = [
            value
            for other in range(60)
            if other in cache and (value := cache._entries[other].value) is not None
        ]
        assert cache.total_bytes == sum(map(len, held)) <= 5_000
        assert len(cache) == len(held) <= 20


async def test_a_hundred_concurrent_requests_make_one_call() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    gate, calls = asyncio.Event(), 0

    async def make() -> int:
        nonlocal calls
        calls += 1
        await gate.wait()
        return 42

    waiters = [asyncio.create_task(flight.run("key", make)) for _ in range(100)]
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*waiters) == [42] * 100
    assert (calls, len(flight)) == (1, 0)


async def test_an_error_reaches_every_waiter_and_is_not_remembered() -> None:
    flight: SingleFlight[str, int] = SingleFlight()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise KeyError("absent")

    async def succeed() -> int:
        return 1

    results = await asyncio.gather(
        *(flight.run("key", fail) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [KeyError] * 3
    assert await flight.run("key", succeed) == 1


async def test_one_cancelled_waiter_leaves_the_call_to_the_others() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    gate = asyncio.Event()

    async def make() -> int:
        await gate.wait()
        return 7

    first, second = (asyncio.create_task(flight.run("key", make)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await second == 7
    assert first.cancelled()


async def test_the_last_cancelled_waiter_ends_the_call_and_the_next_request_starts_anew() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    ended = asyncio.Event()

    async def hang() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return 0

    async def make() -> int:
        return 5

    waiter = asyncio.create_task(flight.run("key", hang))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    waiter.cancel()
    assert await asyncio.gather(waiter, return_exceptions=True)
    assert await flight.run("key", make) == 5
    await ended.wait()
    assert len(flight) == 0


async def test_different_keys_fly_apart() -> None:
    flight: SingleFlight[str, str] = SingleFlight()

    async def name(key: str) -> str:
        await asyncio.sleep(0)
        return key

    assert await asyncio.gather(*(flight.run(key, lambda key=key: name(key)) for key in "ab")) == [
        "a",
        "b",
    ]
