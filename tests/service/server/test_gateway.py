"""Several instances behind a real HAProxy: clients come back to the instance that has their
session, however it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import psutil
import pytest
from haproxy import documented_backend, haproxy, shipped_gateway
from instances import instances
from relay import Relay, is_ready, relay
from ws_client import syllables
from yarl import URL

from orchestrator.client import LipSyncClient, connect

BY_TURNS = documented_backend().replace(
    "balance url_param route          # or: balance hdr(X-Lipsync-Route); or a cookie",
    "balance roundrobin",
)
BY_COOKIE = f"{BY_TURNS}    cookie instance insert indirect nocache httponly\n"
BY_HEADER = documented_backend().replace("balance url_param route", "balance hdr(X-Lipsync-Route)")

CLIENTS = 4


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[str, psutil.Process]]]:
    """Three instances."""
    with instances(tmp_path_factory.mktemp("instances"), 3) as found:
        yield found


async def until_answering(url: str) -> None:
    async with aiohttp.ClientSession() as http:
        while True:
            try:
                async with http.get(f"{url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.05)


async def until_draining(url: str) -> None:
    while await asyncio.to_thread(is_ready, url):
        pass


async def spoken_through_a_cut(gateway: Relay, url: str) -> list[LipSyncClient]:
    """Clients whose connections are all cut while each speaks; no number may be missing, and no
    turn may fail.
    """
    clients = [connect(url) for _ in range(CLIENTS)]

    async def speak(client: LipSyncClient, is_speaking: asyncio.Barrier) -> None:
        session = client.session(user="demo", face="demo", size=128)
        turn = session.say(syllables(2.5))
        frames = turn.frames()
        numbers = [(await anext(frames)).sequence_number]
        before = session.instance
        await is_speaking.wait()
        numbers += [frame.sequence_number async for frame in frames]
        assert numbers == list(range(len(numbers)))
        assert (session.instance, session.resumptions) == (before, 1)

    async with asyncio.TaskGroup() as speaking:
        is_speaking = asyncio.Barrier(CLIENTS + 1)
        for client in clients:
            await client.__aenter__()
            speaking.create_task(speak(client, is_speaking))
        await is_speaking.wait()
        gateway.cut()
    for client in clients:
        await client.__aexit__(None, None, None)
    return clients


@pytest.mark.parametrize(
    "backend", [documented_backend(), BY_HEADER, BY_COOKIE], ids=["query", "header", "cookie"]
)
async def test_a_cut_connection_comes_back_to_its_instance(
    tmp_path: Path, started: list[tuple[str, psutil.Process]], backend: str
) -> None:
    with ExitStack() as stack:
        proxy = stack.enter_context(haproxy(tmp_path, [url for url, _ in started], backend))
        wire = stack.enter_context(relay(proxy))
        await until_answering(proxy)
        clients = await spoken_through_a_cut(wire, wire.url)
    assert [client.reconnections for client in clients] == [1] * CLIENTS


async def test_a_gateway_that_is_wrong_at_first_is_called_again(
    tmp_path: Path, started: list[tuple[str, psutil.Process]]
) -> None:
    with (
        haproxy(tmp_path, [url for url, _ in started[:2]], BY_TURNS) as proxy,
        relay(proxy) as wire,
    ):
        await until_answering(proxy)
        async with connect(wire.url) as client:
            session = client.session(user="demo", face="demo", size=128)
            turn = session.say(syllables(2.5))
            frames = turn.frames()
            numbers = [(await anext(frames)).sequence_number]
            before = session.instance
            wire.cut()
            numbers += [frame.sequence_number async for frame in frames]
            assert numbers == list(range(len(numbers)))
            assert (session.instance, session.resumptions, client.reconnections) == (before, 1, 2)


async def test_a_new_connection_is_never_refused_for_an_instance_that_drains(
    tmp_path: Path,
) -> None:
    with ExitStack() as stack:
        started = stack.enter_context(instances(tmp_path, 2, drain_s="120"))
        gateway = stack.enter_context(shipped_gateway(tmp_path, [url for url, _ in started]))
        await until_answering(gateway)
        (first, process), _ = started
        async with connect(first) as client, aiohttp.ClientSession() as http:
            turn = client.session(user="demo", face="demo", size=128).say(syllables(5.0))
            frames = turn.frames()
            await anext(frames)
            process.terminate()
            await until_draining(first)
            for number in range(
                12
            ):  # those that the gateway knows nothing of, and those that it sends to one place
                for key in ("", f"?route=key-{number}"):
                    async with http.ws_connect(f"{gateway}/v1/ws{key}") as socket:
                        assert not socket.closed
            assert len([frame async for frame in frames]) == 99
        assert await asyncio.to_thread(process.wait, 60) == 0


SPELLINGS = [
    "/metrics",
    "/metrics?",
    "/metrics?a=b",
    "/%6detrics",
    "/metric%73",
    "/%6D%65%74%72%69%63%73",
    "//metrics",
    "/metrics/",
    "/.//metrics",
]


async def test_no_spelling_of_the_path_of_the_metrics_passes_the_gateway(
    tmp_path: Path, started: list[tuple[str, psutil.Process]]
) -> None:
    with shipped_gateway(tmp_path, [started[0][0]]) as gateway:
        await until_answering(gateway)
        async with aiohttp.ClientSession() as http:
            for spelling in SPELLINGS:
                async with http.get(URL(gateway + spelling, encoded=True)) as answer:
                    assert answer.status in (403, 404), spelling
                    assert "lipsync_sessions" not in await answer.text(), spelling


async def test_an_instance_that_is_drained_costs_no_turn(tmp_path: Path) -> None:
    with ExitStack() as stack:
        started = stack.enter_context(instances(tmp_path, 2, drain_s="120"))
        proxy = stack.enter_context(
            haproxy(tmp_path, [url for url, _ in started], documented_backend())
        )
        await until_answering(proxy)
        is_over = asyncio.Event()

        async def speak_on() -> str | None:
            async with connect(proxy) as client:
                session = client.session(user="demo", face="demo", size=128)
                while True:
                    was_over = is_over.is_set()
                    turn = session.say(syllables(0.3))
                    assert [frame.sequence_number async for frame in turn.frames()] == list(
                        range(6)
                    )
                    assert not turn.warnings
                    if was_over:
                        return session.instance

        async with asyncio.TaskGroup() as clients:
            speaking = [clients.create_task(speak_on()) for _ in range(CLIENTS)]
            started[0][1].terminate()
            assert await asyncio.to_thread(started[0][1].wait, 60) == 0
            is_over.set()
        assert len({each.result() for each in speaking}) == 1
