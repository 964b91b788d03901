"""An instance that shuts down: turns end, nothing new begins, clients go on at another instance."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from http_service import form, recording
from instances import instances
from relay import is_ready, relay
from stalled_network import network, until_sessions, until_waiting
from ws_client import connect as connect_by_hand
from ws_client import syllables

from orchestrator.client import ClientSession, ClientTurn, LipSyncClient, SessionLostError, connect

DRAIN_S = 120
"""Longer than any test takes: an instance that ends before ends by itself."""

Instance = tuple[str, psutil.Process]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[Instance]]:
    """Two instances."""
    with instances(tmp_path, 2, drain_s=str(DRAIN_S)) as started:
        yield started


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Instance]:
    with instances(tmp_path, 1, drain_s=str(DRAIN_S)) as started:
        yield started[0]


async def ended(process: psutil.Process) -> int:
    """Its exit status."""
    status = await asyncio.to_thread(process.wait, DRAIN_S / 2)
    assert status is not None
    return status


def resting_face(client: LipSyncClient) -> ClientSession:
    return client.session(user="demo", face="demo", size=128)


async def numbers(turn: ClientTurn) -> list[int]:
    return [frame.sequence_number async for frame in turn.frames()]


async def until_draining(url: str) -> None:
    while await asyncio.to_thread(is_ready, url):  # noqa: ASYNC110 - another process, which tells nobody
        await asyncio.sleep(0.02)


async def test_a_turn_that_is_spoken_ends_and_the_next_one_goes_elsewhere(
    pair: list[Instance],
) -> None:
    (first, process), (second, _) = pair
    with relay(first, second) as gateway:
        async with connect(gateway.url) as client:
            session = resting_face(client)
            turn = session.say(syllables(2.0))
            frames = turn.frames()
            seen = [(await anext(frames)).sequence_number]
            before = session.instance
            process.terminate()
            seen += [frame.sequence_number async for frame in frames]
            assert (seen, turn.interrupted, turn.warnings) == (list(range(40)), False, [])
            assert await numbers(session.say(syllables(0.5))) == list(range(10))
            assert session.instance not in (before, None)
            assert (session.resumptions, client.reconnections) == (0, 1)
    assert await ended(process) == 0


async def test_turns_that_wait_behind_the_spoken_one_are_spoken_elsewhere(
    pair: list[Instance],
) -> None:
    (first, process), (second, _) = pair
    with relay(first, second) as gateway:
        async with connect(gateway.url) as client:
            session = resting_face(client)
            spoken, *waiting = (session.turn() for _ in range(3))
            for turn, seconds in (
                (spoken, 2.0),
                *((turn, 0.5) for turn in waiting),
            ):  # the service has all of them at once
                await turn.send(syllables(seconds))
                await turn.end()
            frames = spoken.frames()
            await anext(frames)
            process.terminate()
            assert len([frame async for frame in frames]) == 39
            assert [await numbers(turn) for turn in waiting] == [list(range(10))] * 2
            assert not any(turn.warnings or turn.interrupted for turn in (spoken, *waiting))
    assert await ended(process) == 0


async def test_a_turn_whose_instance_is_killed_is_lost_with_the_reason_and_the_next_one_is_spoken(
    pair: list[Instance],
) -> None:
    (first, process), (second, _) = pair
    with relay(first, second) as gateway:
        async with connect(gateway.url) as client:
            session = resting_face(client)
            turn = session.say(syllables(20.0))
            await anext(turn.frames())
            process.kill()
            with pytest.raises(SessionLostError, match="an instance without the session") as lost:
                await numbers(turn)
            assert lost.value.reason == "OTHER_INSTANCE"
            assert client.reconnections > 1, "the gateway might have been wrong"
            assert await numbers(session.say(syllables(0.5))) == list(range(10))


async def test_a_session_that_begins_while_another_one_of_its_connection_speaks_is_spoken_elsewhere(
    pair: list[Instance],
) -> None:
    (first, process), (second, _) = pair
    with relay(first, second) as gateway:
        async with connect(gateway.url) as client:
            speaking, beginning = resting_face(client), resting_face(client)
            turn = speaking.say(syllables(2.0))
            frames = turn.frames()
            await anext(frames)
            process.terminate()
            await until_draining(first)
            later = beginning.say(syllables(0.5))
            assert len([frame async for frame in frames]) == 39
            assert await numbers(later) == list(range(10))
            assert not turn.warnings and not later.warnings
    assert await ended(process) == 0


async def test_clients_that_speak_turn_after_turn_notice_nothing_of_a_rolling_restart(
    tmp_path: Path,
) -> None:
    with (
        instances(tmp_path, 3, drain_s=str(DRAIN_S)) as started,
        relay(*(url for url, _ in started)) as gateway,
    ):
        is_over = asyncio.Event()

        async def speak_on() -> str | None:
            """The instance that speaks last."""
            async with connect(gateway.url) as client:
                session = resting_face(client)
                while True:
                    was_over = is_over.is_set()
                    turn = session.say(syllables(0.3))
                    assert await numbers(turn) == list(range(6))
                    assert not turn.warnings
                    if was_over:
                        return session.instance

        async with asyncio.TaskGroup() as clients:
            speaking = [clients.create_task(speak_on()) for _ in range(3)]
            for url, process in started[:2]:
                process.terminate()
                await until_draining(url)
                assert await ended(process) == 0
            is_over.set()
        (last,) = {each.result() for each in speaking}
        assert last is not None


async def test_what_would_begin_anew_is_refused_and_what_began_is_finished(
    single: Instance,
) -> None:
    url, process = single
    async with aiohttp.ClientSession() as http, connect_by_hand(url) as client:

        async def render(seconds: float) -> tuple[int, Any]:
            async with http.post(
                f"{url}/v1/render",
                data=form({"audio": recording(seconds)}, size=128, model="static"),
            ) as answer:
                return answer.status, answer.headers.get("Retry-After")

        rendering = asyncio.create_task(render(60.0))
        await until_said(http, f"{url}/metrics", 'stage="generate"')
        await client.speak(syllables(3.0), session="spoken", end=False)
        await client.until("response_video")
        process.terminate()
        await until_draining(url)
        assert "lipsync_draining 1.0" in await text(http, f"{url}/metrics")
        assert await render(0.5) == (503, "1")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{url}/v1/ws")
        assert (refused.value.status, (refused.value.headers or {})["Retry-After"]) == (503, "1")
        await client.say(syllables(0.1), session="another")
        error = await client.until("error", sessionId="another")
        assert (error["errorCode"], error["recoverable"]) == ("SESSION_LIMIT", True)
        assert error["details"] == {"reason": "DRAINING", "retryAfterS": 1}
        page = await text(http, f"{url}/metrics")
        assert 'lipsync_errors_total{code="SESSION_LIMIT",reason="DRAINING"} 3.0' in page
        assert 'lipsync_errors_total{code="SESSION_LIMIT",reason=""} 0.0' in page, (
            "nobody lacked room"
        )
        await client.send({"type": "end_utterance", "sessionId": "spoken"})
        await client.until("response_end", sessionId="spoken", interrupted=False)
        closed = await client.socket.receive()
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1012)
        assert (await rendering)[0] == HTTPStatus.OK
    assert await ended(process) == 0


async def test_no_turn_begins_to_be_answered_once_the_one_before_is_over(single: Instance) -> None:
    url, process = single
    async with connect_by_hand(url) as client:
        for turn in ("first", "second"):
            await client.speak(syllables(2.0), turnId=turn)
        await client.until("response_video")
        process.terminate()
        await client.until("response_end", turnId="first")
        closed = await client.socket.receive()
        assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1012)
    assert await ended(process) == 0


async def test_a_second_signal_waits_for_nobody(single: Instance) -> None:
    url, process = single
    async with connect(url, give_up_s=0.1) as client:
        turn = resting_face(client).turn()
        await turn.send(syllables(1.0))
        await anext(turn.frames())
        process.terminate()
        await until_draining(url)
        process.terminate()
        assert await ended(process) == 0
        with pytest.raises(SessionLostError) as lost:
            await numbers(turn)
        assert lost.value.reason == "DRAINING"


@pytest.mark.parametrize("drain_s", ["0", "0.3"])
async def test_the_time_to_drain_has_an_end(tmp_path: Path, drain_s: str) -> None:
    with instances(tmp_path, 1, drain_s=drain_s) as ((url, process),):
        async with connect(url, give_up_s=0.1) as client:
            turn = resting_face(client).turn()
            await turn.send(syllables(1.0))
            await anext(turn.frames())
            process.terminate()
            assert await ended(process) == 0
            with pytest.raises(SessionLostError, match="shut down before the turn was over"):
                await numbers(turn)


async def test_a_client_that_takes_no_data_holds_up_nothing(single: Instance) -> None:
    url, process = single
    async with connect_by_hand(url) as client:
        large = {"resolution": {"width": 512, "height": 512}, "quality": 100}
        await client.speak(syllables(4.0), end=False, config=large)
        network(client).pause_reading()
        await until_waiting(url, 1)
        await client.send(
            {"type": "end_session", "sessionId": "session-1"}
        )  # from here on nobody waits for room in its socket
        await until_sessions(url, 0)
        process.terminate()
        assert await ended(process) == 0


async def test_sessions_without_a_connection_hold_up_nothing(single: Instance) -> None:
    url, process = single
    with relay(url) as wire:
        async with connect_by_hand(wire.url.rstrip("/")) as client:
            await client.speak(syllables(1.0), end=False)
            await client.until("response_video")
            wire.cut()
        async with aiohttp.ClientSession() as http:
            await until_said(http, f"{url}/metrics", "lipsync_waiting_sessions 1.0")
    process.terminate()
    assert await ended(process) == 0


async def text(http: aiohttp.ClientSession, url: str) -> str:
    async with http.get(url) as answer:
        return await answer.text()


async def until_said(http: aiohttp.ClientSession, url: str, line: str) -> None:
    while line not in await text(http, url):  # noqa: ASYNC110 - another process, which tells nobody
        await asyncio.sleep(0.02)
