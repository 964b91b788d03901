"""The Python client against the real service: turns, both codings, lost connections, errors."""

from __future__ import annotations

import asyncio
import json
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import simplejpeg
from aiohttp import web
from aiohttp.test_utils import TestServer
from ws_client import syllables

from orchestrator.client import (
    ClientTurn,
    ConnectionFailedError,
    FaceModelNotFoundError,
    InvalidMessageError,
    LipSyncClient,
    LipSyncClientError,
    SessionLostError,
    UnauthorizedError,
    connect,
    handshake,
)


async def cut(client: LipSyncClient) -> None:
    """Abort the connection without a close frame."""
    assert client._socket is not None
    connection: Any = client._socket._response.connection
    connection.transport.abort()


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
async def test_a_turn_sent_at_once_gives_its_frames_in_order(
    service_url: str, binary: bool
) -> None:
    async with connect(service_url, binary=binary) as client:
        session = client.session(user="demo", face="demo", size=128, fps=25)
        turn = session.turn()
        await turn.send(syllables(1.0))
        await turn.end()
        frames = [frame async for frame in turn.frames()]
    assert client.is_binary is binary
    assert [frame.sequence_number for frame in frames] == list(range(25))
    assert [round(frame.audio_timestamp - turn.began_ms) for frame in frames] == [
        40 * number for number in range(25)
    ]
    assert simplejpeg.decode_jpeg_header(frames[0].data)[:2] == (128, 128)
    assert session.poster is not None
    assert simplejpeg.decode_jpeg_header(session.poster.data)[:2] == (128, 128)
    assert turn.metrics is not None
    assert turn.metrics["bytesSent"] == sum(len(frame.data) for frame in frames)


async def test_a_recording_is_sent_as_it_is_spoken(service_url: str) -> None:
    async with connect(service_url) as client:
        began_s = asyncio.get_running_loop().time()
        turn = client.session(user="demo", face="demo", size=128).say(syllables(1.0))
        frames = [frame async for frame in turn.frames()]
        assert asyncio.get_running_loop().time() - began_s > 0.99
    assert len(frames) == 20


async def test_a_lost_connection_costs_no_number_and_no_audio(
    service_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "orchestrator.sessions.live_session.STALE_S", 60.0
    )  # however long the client takes to come back
    async with connect(service_url) as client:
        session = client.session(user="demo", face="demo", size=128)
        turn = session.say(syllables(2.0))
        numbers, times = list[int](), list[float]()
        async for frame in turn.frames():
            numbers.append(frame.sequence_number)
            times.append(frame.audio_timestamp - turn.began_ms)
            if len(numbers) in (8, 20):
                await cut(client)
    assert client.reconnections == session.resumptions == 2
    assert numbers == list(range(len(numbers)))
    assert times == sorted(set(times))
    assert times[-1] == 1950.0
    assert len(numbers) >= 30, "only what was under way when the connection broke is lost"
    assert turn.metrics is not None
    assert turn.metrics["framesGenerated"] == 40


async def test_a_model_switch_while_the_connection_is_lost_is_kept(service_url: str) -> None:
    async with connect(service_url) as client:
        session = client.session(user="demo", face="demo", size=128)
        turn = session.say(syllables(3.0))
        models = []
        async for frame in turn.frames():
            models.append(frame.model)
            if len(models) == 6:
                await cut(client)
                await asyncio.sleep(0.05)
                await session.switch_model("static")
    assert (models[0], models[-1]) == ("tpsm", "static")
    assert [(switch.before, switch.after) for switch in turn.switches] == [("tpsm", "static")]


async def test_a_session_that_the_service_lost_fails_and_is_opened_anew(
    serving: Callable[..., Any],
) -> None:
    async with serving(resume_ttl_s=0.0) as url, connect(url) as client:
        session = client.session(user="demo", face="demo", size=128)
        turn = session.say(syllables(1.0))
        with pytest.raises(SessionLostError):
            async for frame in turn.frames():
                if frame.sequence_number == 3:
                    await cut(client)
        again = session.say(syllables(0.5))
        assert len([frame async for frame in again.frames()]) == 10


async def test_a_session_at_another_instance_is_found() -> None:
    """A stand-in for a service of two instances: the first three connections after the break reach
    the wrong one.
    """
    resume_requests = 0

    async def serve(request: web.Request) -> web.WebSocketResponse:
        nonlocal resume_requests
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for raw in socket:
            message = json.loads(raw.data)
            session, frame = (
                {"sessionId": message["sessionId"]},
                {"format": "jpeg", "isKeyframe": True, "width": 1, "height": 1},
            )
            times = {"timestamp": 0, "audioTimestamp": 0, "model": "tpsm", "frameData": ""}
            if message["type"] == "lipsync_audio" and message["audioChunk"]["sequenceNumber"] == 0:
                await socket.send_json(
                    {
                        "type": "response_start",
                        "turnId": "turn-001",
                        "model": "tpsm",
                        "instance": "one",
                    }
                    | session
                )
                await socket.send_json(
                    {"type": "response_video", "turnId": "turn-001", "sequenceNumber": 0}
                    | session
                    | frame
                    | times
                )
                request.transport.abort()  # type: ignore[union-attr]
            elif message["type"] == "resume_session":
                resume_requests += 1
                refusal = {"errorCode": "INVALID_MESSAGE", "errorMessage": "", "recoverable": False}
                if resume_requests < 4:
                    await socket.send_json(
                        {
                            "type": "error",
                            "details": {"field": "sessionId", "reason": "OTHER_INSTANCE"},
                        }
                        | session
                        | refusal
                    )
                    continue
                assert (message["turnId"], message["nextFrame"], message["instance"]) == (
                    "turn-001",
                    1,
                    "one",
                )
                standing = {
                    "turnId": "turn-001",
                    "nextSequenceNumber": 1,
                    "openTurns": ["turn-001"],
                }
                await socket.send_json({"type": "session_resumed"} | session | standing)
            elif message["type"] == "end_utterance":
                await socket.send_json(
                    {"type": "response_end", "turnId": "turn-001", "metrics": {}} | session
                )
        return socket

    app = web.Application()
    app.add_routes([web.get("/v1/ws", serve)])
    async with TestServer(app) as server, connect(str(server.make_url("")), binary=False) as client:
        turn = client.session(user="demo").say(syllables(0.5))
        assert len([frame async for frame in turn.frames()]) == 1
        assert (resume_requests, client.reconnections) == (4, 4)


async def test_an_interruption_ends_the_frames(service_url: str) -> None:
    async with connect(service_url) as client:
        session = client.session(user="demo", face="demo", size=128)
        turn = session.say(syllables(20.0))
        count = 0
        async for _ in turn.frames():
            count += 1
            if count == 10:
                await turn.interrupt()
        assert turn.interrupted
        assert count < 100, "of 400"
        assert len([frame async for frame in session.say(syllables(0.3)).frames()]) == 6


async def test_errors_have_their_own_types(service_url: str) -> None:
    async with connect(service_url) as client:
        with pytest.raises(FaceModelNotFoundError):
            _ = [
                frame
                async for frame in client.session(user="demo", face="nobody")
                .say(syllables(0.2))
                .frames()
            ]
        with pytest.raises(InvalidMessageError) as caught:
            _ = [
                frame
                async for frame in client.session(user="demo", fps=99).say(syllables(0.2)).frames()
            ]
        assert caught.value.field == "config.targetFps"
        session = client.session(user="demo", face="demo", session_id="mine")
        turn = session.say(syllables(1.0))
        async for _ in turn.frames():
            break
        async with connect(service_url) as another:
            with pytest.raises(InvalidMessageError, match="open on another connection"):
                _ = [
                    frame
                    async for frame in another.session(user="demo", session_id="mine")
                    .say(syllables(0.2))
                    .frames()
                ]


async def test_a_token_that_does_not_open_the_user_has_its_own_type(
    serving: Callable[..., Any],
) -> None:
    async with (
        serving(auth_tokens={"secret": "ann"}) as url,
        connect(url, token="secret") as client,
    ):
        with pytest.raises(UnauthorizedError):
            _ = [
                frame
                async for frame in client.session(user="demo", face="demo")
                .say(syllables(0.2))
                .frames()
            ]


async def test_a_missing_service_fails_at_once() -> None:
    with pytest.raises(ConnectionFailedError):
        async with connect("http://127.0.0.1:9"):
            pass


async def test_a_service_that_is_unavailable_for_a_moment_is_called_again() -> None:
    routes = list[tuple[str | None, str | None]]()

    async def serve(request: web.Request) -> web.StreamResponse:
        routes.append((request.query.get("route"), request.headers.get("X-Lipsync-Route")))
        if len(routes) == 1:
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        return socket

    app = web.Application()
    app.add_routes([web.get("/v1/ws", serve)])
    async with TestServer(app) as server, connect(str(server.make_url(""))) as client:
        assert routes == [(client.route, client.route)] * 2


async def test_a_service_that_does_not_come_back_fails_the_turn(service_url: str) -> None:
    async with connect(service_url, give_up_s=0.5) as client:
        turn = client.session(user="demo", face="demo", size=128).say(syllables(5.0))
        client._url = "http://127.0.0.1:9/v1/ws"
        with pytest.raises(ConnectionFailedError):
            async for frame in turn.frames():
                if frame.sequence_number == 2:
                    await cut(client)


async def fails(turn: ClientTurn, kind: type[LipSyncClientError]) -> None:
    """Assert that the frames raise this within a minute."""
    async with asyncio.timeout(60.0):
        with pytest.raises(kind):
            _ = [frame async for frame in turn.frames()]


async def test_after_the_service_is_given_up_every_later_turn_fails(service_url: str) -> None:
    async with connect(service_url, give_up_s=0.3) as client:
        sessions = [client.session(user="demo", face="demo", size=128) for _ in range(2)]
        turns = [session.say(syllables(5.0)) for session in sessions]
        client._url = "http://127.0.0.1:9/v1/ws"
        await cut(client)
        for turn in (
            *turns,
            sessions[0].say(syllables(0.2)),
            client.session(user="demo").say(syllables(0.2)),
        ):
            await fails(turn, ConnectionFailedError)
        with pytest.raises(ConnectionFailedError):
            await sessions[0].turn().send(syllables(0.1))


async def test_a_token_that_is_refused_at_the_next_connection_fails_the_turn(
    service_url: str,
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=401)

    app = web.Application()
    app.add_routes([web.get("/v1/ws", refuse)])
    async with TestServer(app) as other, connect(service_url) as client:
        session = client.session(user="demo", face="demo", size=128)
        turn = session.say(syllables(5.0))
        client._url = str(other.make_url("/v1/ws"))
        await cut(client)
        await fails(turn, UnauthorizedError)
        await fails(session.say(syllables(0.2)), UnauthorizedError)


async def test_a_service_that_takes_the_connection_and_says_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(handshake, "CONNECT_TIMEOUT_S", 0.2)
    gone = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(60.0):
            with pytest.raises(ConnectionFailedError):
                await connect(f"http://127.0.0.1:{port}").__aenter__()
        gone.set()


async def test_a_service_that_speaks_nonsense_fails_the_turn(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        await socket.send_bytes(b"?")
        await socket.receive()
        return socket

    app = web.Application()
    app.add_routes([web.get("/v1/ws", serve)])
    async with TestServer(app) as server, connect(str(server.make_url(""))) as client:
        await fails(client.session(user="demo").say(syllables(5.0)), ConnectionFailedError)
    assert "its sessions end" in caplog.text


async def test_a_turn_of_a_client_that_is_not_connected_fails(service_url: str) -> None:
    client = connect(service_url)
    session = client.session(user="demo", face="demo", size=128)
    await fails(session.say(syllables(0.2)), ConnectionFailedError)
    async with client:
        assert len([frame async for frame in session.say(syllables(0.2)).frames()]) == 4
    await fails(session.say(syllables(0.2)), ConnectionFailedError)


async def test_recordings_said_at_once_are_spoken_one_after_another(service_url: str) -> None:
    async with connect(service_url) as client:
        session = client.session(user="demo", face="demo", size=128)
        turns = [session.say(syllables(0.6)) for _ in range(3)]
        assert [len([frame async for frame in turn.frames()]) for turn in turns] == [12, 12, 12]
        assert not any(turn.interrupted or turn.warnings for turn in turns)


async def test_an_interruption_of_a_waiting_turn_leaves_the_spoken_one_whole(
    service_url: str,
) -> None:
    async with connect(service_url) as client:
        session = client.session(user="demo", face="demo", size=128)
        spoken, waiting = session.turn(), session.turn()
        for turn in (spoken, waiting):
            await turn.send(syllables(1.0))
            await turn.end()
        assert (await anext(spoken.frames())).sequence_number == 0
        await waiting.interrupt()
        assert [frame async for frame in waiting.frames()] == []
        assert len([frame async for frame in spoken.frames()]) == 19
        assert (spoken.interrupted, waiting.interrupted) == (False, True)
        last = session.say(syllables(0.3))
        await spoken.interrupt()
        assert len([frame async for frame in last.frames()]) == 6


async def test_a_turn_that_begins_while_the_connection_is_away_costs_nothing_when_the_session_is_gone(
    serving: Callable[..., Any],
) -> None:
    async with serving(resume_ttl_s=0.0) as url, connect(url) as client:
        session = client.session(user="demo", face="demo", size=128)
        assert len([frame async for frame in session.say(syllables(0.2)).frames()]) == 4
        await cut(client)
        assert len([frame async for frame in session.say(syllables(0.6)).frames()]) == 12
        assert (client.reconnections, session.resumptions) == (1, 0)


async def test_closed_sessions_are_forgotten(service_url: str) -> None:
    async with connect(service_url) as client:
        for _ in range(3):
            session = client.session(user="demo", face="demo", size=128)
            _ = [frame async for frame in session.say(syllables(0.2)).frames()]
            await session.close()
        assert client._sessions == {}


def test_a_recording_in_another_coding_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "eight.wav"
    with wave.open(str(path), "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(1)
        clip.setframerate(8000)
        clip.writeframes(bytes(800))
    session = connect("http://127.0.0.1:9").session(user="demo")
    with pytest.raises(InvalidMessageError, match=r"path: .* 8 bits; convert it to 16-bit PCM"):
        session.say_wav(path)
    path.write_bytes(b"no sound at all")
    with pytest.raises(InvalidMessageError, match=r"path: .* is no WAV file"):
        session.say_wav(path)


async def test_an_argument_that_cannot_be_is_an_error_of_the_client_that_names_it() -> None:
    client = connect("http://127.0.0.1:9")
    with pytest.raises(
        InvalidMessageError, match="format: is 'gif'; send one of jpeg, h264"
    ) as caught:
        client.session(user="demo", format="gif")
    assert caught.value.field == "format"
    session = client.session(user="demo", model="No Model")
    with pytest.raises(InvalidMessageError, match="model: 'No Model'") as caught:
        session.turn()
    assert caught.value.field == "model"
    with pytest.raises(InvalidMessageError, match="model: "):
        await session.switch_model("")


async def test_what_one_session_gives_up_sending_takes_nothing_from_another() -> None:
    reads, received = asyncio.Event(), asyncio.Queue[int]()

    async def slow(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=0)
        await socket.prepare(request)
        await reads.wait()
        async for message in socket:
            received.put_nowait(len(message.data))
        return socket

    app = web.Application()
    app.router.add_get("/v1/ws", slow)
    async with (
        asyncio.timeout(120.0),
        TestServer(app) as server,
        connect(str(server.make_url(""))) as client,
    ):
        waiting = [
            asyncio.create_task(client.send(bytes(8_000_000 + number))) for number in range(3)
        ]
        await asyncio.sleep(0.1)
        assert not any(sending.done() for sending in waiting), "the network holds them up"
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        reads.set()
        assert await asyncio.gather(*waiting[1:]) == [True, True]
        assert [await received.get() for _ in waiting] == [8_000_000, 8_000_001, 8_000_002]
