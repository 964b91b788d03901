"""A lost connection: the same user goes on where the session stood, nobody else does, and what
nobody comes back for is freed.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Callable
from typing import Any

import aiohttp
import av
import pytest
import simplejpeg
from ws_client import CHUNK_S, FIRST_TIMESTAMP_MS, WsClient, connect, syllables

STEP = round(CHUNK_S * 16_000) * 2

LIMIT_S = 4.0
"""Of a session that is to be cut: long enough for a slow machine to begin a turn, or to speak one
of half a second, before.
"""


async def cut(client: WsClient) -> None:
    """The connection is gone without a word."""
    connection = client.socket._response.connection
    assert connection is not None and connection.transport is not None
    connection.transport.abort()
    await asyncio.sleep(0)


async def say_some(client: WsClient, first: int, chunks: int, audio: bytes, **fields: Any) -> None:
    for number in range(first, first + chunks):
        await client.say(audio[number * STEP : (number + 1) * STEP], number, **fields)


async def sessions(url: str) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/v1/health") as answer:
        return int((await answer.json())["activeSessions"])


async def until_sessions(url: str, count: int) -> None:
    async with asyncio.timeout(120):
        while await sessions(url) != count:  # noqa: ASYNC110 - the service is asked from outside
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("coding", ["jpeg", "h264"])
async def test_a_turn_goes_on_over_a_new_connection_and_no_number_is_missing(
    service_url: str, coding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "orchestrator.sessions.live_session.STALE_S", 60.0
    )  # however long the client takes to come back
    audio = syllables(2.0)
    async with connect(service_url) as before:
        await say_some(before, 0, 10, audio, turnId="t", config={"format": coding, "targetFps": 25})
        while len(before.frames()) < 12:
            await before.next()
        await cut(before)
    seen = before.frames()
    async with connect(service_url) as after:
        await after.send(
            {
                "type": "resume_session",
                "sessionId": "session-1",
                "userId": "demo",
                "turnId": "t",
                "nextFrame": len(seen),
            }
        )
        resumed = await after.next()
        assert (resumed["type"], resumed["turnId"], resumed["openTurns"]) == (
            "session_resumed",
            "t",
            ["t"],
        )
        assert resumed["nextSequenceNumber"] == 10
        await say_some(after, 8, 12, audio, turnId="t")  # two of them a second time
        await after.send({"type": "end_utterance", "sessionId": "session-1"})
        end = await after.until("response_end")
    frames = seen + after.frames()
    assert [frame["sequenceNumber"] for frame in frames] == list(range(len(frames)))
    places = [(frame["audioTimestamp"] - FIRST_TIMESTAMP_MS) / 40 for frame in frames]
    assert places == sorted(set(places))
    assert places[-1] == 49  # as long as the audio, which nothing was counted twice of
    assert len(frames) >= 40  # those under way when the connection broke are lost
    assert {frame["format"] for frame in frames} == {coding}
    assert end["metrics"]["framesGenerated"] == 50
    assert after.frames()[0]["isKeyframe"]
    if coding == "h264":
        stream = b"".join(base64.b64decode(frame["frameData"]) for frame in after.frames())
        with av.open(io.BytesIO(stream), format="h264") as container:
            assert len(list(container.decode(video=0))) == len(after.frames())


async def test_a_chunk_with_the_next_number_is_enough_to_go_on(service_url: str) -> None:
    audio = syllables(1.0)
    async with connect(service_url) as before:
        await say_some(before, 0, 5, audio, turnId="t", modelPreference="static")
        await before.until("response_video")
        await cut(before)
    async with connect(service_url) as after:
        await say_some(after, 5, 5, audio, turnId="t")
        await after.send({"type": "end_utterance", "sessionId": "session-1"})
        await after.until("response_end")
    assert after.received[0]["type"] == "session_resumed"
    assert after.frames()[-1]["audioTimestamp"] == FIRST_TIMESTAMP_MS + 950
    assert {frame["model"] for frame in after.frames()} == {"static"}
    assert {message["type"] for message in after.received}.isdisjoint(
        {"poster", "error", "response_start"}
    )


async def test_audio_that_was_never_sent_counts_as_silence(service_url: str) -> None:
    audio = syllables(2.0)
    async with connect(service_url) as before:
        await say_some(before, 0, 5, audio, turnId="t")
        await before.until("response_video")
        await cut(before)
    async with connect(service_url) as after:
        await say_some(after, 15, 5, audio, turnId="t")
        await after.send({"type": "end_utterance", "sessionId": "session-1"})
        end = await after.until("response_end")
    assert end["metrics"]["framesGenerated"] == 40
    assert after.frames()[-1]["audioTimestamp"] == FIRST_TIMESTAMP_MS + 1950


async def test_between_turns_the_session_keeps_its_face_its_wishes_and_its_count(
    service_url: str,
) -> None:
    async with connect(service_url) as before:
        await before.speak(
            syllables(0.3),
            modelPreference="static",
            config={"resolution": {"width": 128, "height": 128}},
        )
        await before.until("response_end")
        await cut(before)
    async with connect(service_url) as after:
        await after.speak(syllables(0.3))
        end = await after.until("response_end")
    assert (end["turnId"], end["metrics"]["modelUsed"]) == ("turn-002", "static")
    assert {frame["width"] for frame in after.frames()} == {128}
    assert "poster" not in {message["type"] for message in after.received}


async def test_a_chunk_numbered_0_gives_up_the_unfinished_turn(service_url: str) -> None:
    async with connect(service_url) as before:
        await say_some(before, 0, 5, syllables(0.5))
        await before.until("response_video")
        await cut(before)
    async with connect(service_url) as after:
        await after.speak(syllables(0.5))
        assert (await after.until("response_end"))["interrupted"]
        await after.until("response_end", turnId="turn-002")
    assert len(after.frames("turn-002")) == 10


async def test_another_user_learns_nothing_of_a_session(service_url: str) -> None:
    async with connect(service_url) as before:
        await before.speak(syllables(0.3), end=False)
        await before.until("response_start")
        await cut(before)
    async with connect(service_url) as stranger:
        told = []
        for session in ("session-1", "no-session"):
            await stranger.send(
                {"type": "resume_session", "sessionId": session, "userId": "mallory"}
            )
            told.append((await stranger.until("error"))["errorMessage"].replace(session, "..."))
        assert told[0] == told[1]
    async with connect(service_url) as after:
        await after.send({"type": "resume_session", "sessionId": "session-1", "userId": "demo"})
        assert (await after.next())["type"] == "session_resumed"


async def test_a_session_of_a_living_connection_is_not_taken_over(
    service_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "orchestrator.server.socket_sink.ANSWER_S", 60.0
    )  # a client that is alive may be slow
    async with connect(service_url) as client, connect(service_url) as other:
        await client.speak(syllables(0.3), end=False)
        await client.until("response_start")
        listening = asyncio.create_task(
            client.until("response_end")
        )  # a client that reads also answers pings
        await other.send({"type": "resume_session", "sessionId": "session-1", "userId": "demo"})
        refusal = await other.until("error")
        await client.send({"type": "end_utterance", "sessionId": "session-1"})
        await listening
    assert (refusal["errorCode"], refusal["details"]) == ("INVALID_MESSAGE", {"field": "sessionId"})


async def test_a_session_of_a_connection_that_answers_nothing_is_taken_over(
    service_url: str,
) -> None:
    async with connect(service_url) as silent, connect(service_url) as after:
        await silent.speak(syllables(0.3), end=False)
        await silent.until("response_start")
        # From here on nothing is read from the first socket, pings included: to the service it is a
        # client that fell off the net.
        await after.send({"type": "resume_session", "sessionId": "session-1", "userId": "demo"})
        assert (await after.next())["type"] == "session_resumed"
        await say_some(after, 3, 2, syllables(0.5))
        await after.send({"type": "end_utterance", "sessionId": "session-1"})
        await after.until("response_end")


async def test_a_session_that_nobody_comes_back_for_is_freed(serving: Callable[..., Any]) -> None:
    async with serving(resume_ttl_s=0.3) as url:
        async with connect(url) as client:
            await client.speak(syllables(0.3), end=False)
            await client.until("response_start")
            await cut(client)
        await until_sessions(url, 0)
        async with connect(url) as late:
            await late.send({"type": "resume_session", "sessionId": "session-1", "userId": "demo"})
            error = await late.until("error")
    assert (error["errorCode"], error["recoverable"], error["details"]) == (
        "INVALID_MESSAGE",
        False,
        {"field": "sessionId"},
    )


async def test_a_session_whose_client_closed_the_connection_ends_at_once(service_url: str) -> None:
    async with connect(service_url) as client:
        await client.speak(syllables(0.3), end=False)
        await client.until("response_start")
        assert await sessions(service_url) == 1
    await until_sessions(service_url, 0)


async def test_waiting_sessions_count_and_give_way_to_new_ones_of_their_user(
    serving: Callable[..., Any],
) -> None:
    async with serving(max_concurrent_sessions=3, max_sessions_per_user=3) as url:
        async with connect(url) as client:
            for name in ("a", "b", "c"):
                await client.say(syllables(0.1), session=name)
            await client.until("response_start", sessionId="c")
            await cut(client)
        async with connect(url) as client:
            assert await sessions(url) == 3
            await client.say(syllables(0.1), session="d")
            await client.until("response_start", sessionId="d")
            assert await sessions(url) == 3
            await client.send({"type": "resume_session", "sessionId": "a", "userId": "demo"})
            assert (await client.until("error"))[
                "sessionId"
            ] == "a"  # it waited longest and gave way
            await client.send({"type": "resume_session", "sessionId": "b", "userId": "demo"})
            await client.until("session_resumed", sessionId="b")


async def test_the_face_is_shown_once_before_the_first_frame(service_url: str) -> None:
    async with connect(service_url) as client:
        await client.say(syllables(0.02))  # far less than the first frame needs
        poster = await client.until("poster")
        assert client.frames() == []
        await client.speak(syllables(0.5))
        await client.until("response_end")
        await client.speak(syllables(0.3), turnId="second")
        await client.until("response_end")
        await client.speak(
            syllables(0.3), turnId="third", config={"resolution": {"width": 128, "height": 128}}
        )
        await client.until("response_end")
    assert (poster["faceModelId"], poster["format"], poster["width"]) == ("demo", "jpeg", 256)
    assert simplejpeg.decode_jpeg_header(base64.b64decode(poster["frameData"]))[:2] == (256, 256)
    assert [message["width"] for message in client.received if message["type"] == "poster"] == [
        256,
        128,
    ]


async def spoken_to(client: WsClient) -> None:
    """A session that was and is no more: what a service does but once, it has done for it."""
    await client.speak(syllables(0.2), session="first")
    await client.until("response_end", sessionId="first")
    await client.send({"type": "end_session", "sessionId": "first"})
    client.received.clear()


async def test_the_rest_of_a_turn_that_was_cut_opens_no_other_session(
    serving: Callable[..., Any],
) -> None:
    async with serving(max_session_s=LIMIT_S) as url, connect(url) as client:
        await spoken_to(client)
        audio = syllables(2.0)
        await say_some(client, 0, 5, audio, turnId="t")
        await client.until("error")
        await until_sessions(url, 0)
        await say_some(client, 5, 5, audio, turnId="t")
        await say_some(client, 10, 5, audio)
        await client.send({"type": "end_utterance", "sessionId": "session-1"})
        await say_some(client, 0, 5, audio, turnId="t")
        await client.send({"type": "end_utterance", "sessionId": "session-1"})
        end = await client.until("response_end", interrupted=False)
    assert end["metrics"]["framesGenerated"] == 10
    kinds = [
        message["type"]
        for message in client.received
        if message["type"] not in ("response_video", "poster", "session_warning")
    ]
    assert kinds == ["response_start", "response_end", "error", "response_start", "response_end"]


async def test_a_session_is_warned_before_its_time_is_over_and_ends_in_order(
    serving: Callable[..., Any],
) -> None:
    async with serving(max_session_s=LIMIT_S) as url, connect(url) as client:
        await spoken_to(client)
        await client.speak(syllables(0.5), end=False)
        warning = await client.until("session_warning")
        end = await client.until("response_end")
        error = await client.until("error")
        await until_sessions(url, 0)
    assert warning["reason"] == "MAX_SESSION_TIME"
    assert 0.0 < warning["secondsLeft"] <= LIMIT_S
    assert end["interrupted"]
    assert (error["errorCode"], error["recoverable"], error["details"]["reason"]) == (
        "SESSION_LIMIT",
        False,
        "MAX_SESSION_TIME",
    )


@pytest.mark.parametrize("where", ["here", "elsewhere", "unknown"])
async def test_a_session_that_cannot_be_resumed_is_told_apart_from_one_of_another_instance(
    serving: Callable[..., Any], where: str
) -> None:
    async with serving(resume_ttl_s=0.0) as url:
        async with connect(url) as client:
            await client.speak(syllables(0.2))
            instance = (await client.until("response_start"))["instance"]
            await cut(client)
        while await sessions(url):  # noqa: ASYNC110 - the service notices by itself
            await asyncio.sleep(0.01)
        named = {
            "here": {"instance": instance},
            "elsewhere": {"instance": "another"},
            "unknown": {},
        }[where]
        async with connect(url) as client:
            await client.send(
                {"type": "resume_session", "sessionId": "session-1", "userId": "demo"} | named
            )
            error = await client.until("error")
    reason = {
        "here": {"reason": "EXPIRED"},
        "elsewhere": {"reason": "OTHER_INSTANCE"},
        "unknown": {},
    }[where]
    assert (error["errorCode"], error["details"]) == (
        "INVALID_MESSAGE",
        {"field": "sessionId"} | reason,
    )


@pytest.mark.parametrize("field", ["route", "X-Lipsync-Route"])
async def test_a_routing_key_is_held_to_its_form(service_url: str, field: str) -> None:
    async with aiohttp.ClientSession() as http:
        for key in ("0123456789abcdef", "with blanks", "k" * 129):
            named: dict[str, Any] = (
                {"params": {field: key}} if field == "route" else {"headers": {field: key}}
            )
            if key.isalnum() and len(key) < 128:
                async with http.ws_connect(f"{service_url}/v1/ws", **named):
                    continue
            async with http.get(f"{service_url}/v1/ws", **named) as answer:
                assert answer.status == 400
                assert (await answer.json())["details"] == {"field": field}
