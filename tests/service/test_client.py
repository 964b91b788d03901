"""The Python client against the real service: turns, both codings of the wire, lost connections, and errors by type."""

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
    ConnectionFailedError,
    FaceModelNotFoundError,
    InvalidMessageError,
    LipSyncClient,
    SessionLostError,
    UnauthorizedError,
    connect,
)


async def cut(client: LipSyncClient) -> None:
    """The connection is gone without a word."""
    assert client._socket is not None
    connection: Any = client._socket._response.connection
    connection.transport.abort()


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
async def test_a_turn_sent_at_once_gives_its_frames_in_order(service_url: str, binary: bool) -> None:
    async with connect(service_url, binary=binary) as client:
        session = client.session(user="demo", face="demo", size=128, fps=25)
        turn = session.turn()
        await turn.send(syllables(1.0))
        await turn.end()
        frames = [frame async for frame in turn.frames()]
    assert client.is_binary is binary
    assert [frame.sequence_number for frame in frames] == list(range(25))
    assert [round(frame.audio_timestamp - turn.began_ms) for frame in frames] == [40 * number for number in range(25)]
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


async def test_a_lost_connection_costs_no_number_and_no_audio(service_url: str) -> None:
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
    assert len(numbers) >= 34
    assert turn.metrics is not None
    assert turn.metrics["framesGenerated"] == 40


async def test_a_wish_made_while_the_connection_is_away_is_kept(service_url: str) -> None:
    async with connect(service_url) as client:
        session = client.session(user="demo", face="demo", size=128)
        turn = session.say(syllables(1.5))
        models = []
        async for frame in turn.frames():
            models.append(frame.model)
            if len(models) == 6:
                await cut(client)
                await asyncio.sleep(0.05)
                await session.switch_model("static")
    assert (models[0], models[-1]) == ("tpsm", "static")
    assert [(switch.before, switch.after) for switch in turn.switches] == [("tpsm", "static")]


async def test_a_session_that_the_service_let_go_of_is_told_and_opened_anew(serving: Callable[..., Any]) -> None:
    async with serving(resume_ttl_s=0.0) as url, connect(url) as client:
        session = client.session(user="demo", face="demo", size=128)
        turn = session.say(syllables(1.0))
        with pytest.raises(SessionLostError):
            async for frame in turn.frames():
                if frame.sequence_number == 3:
                    await cut(client)
        again = session.say(syllables(0.5))
        assert len([frame async for frame in again.frames()]) == 10


async def test_a_session_in_another_process_of_the_service_is_found() -> None:
    """A stand-in for a service of two processes: the first three connections after the break reach the wrong one."""
    asked = 0

    async def serve(request: web.Request) -> web.WebSocketResponse:
        nonlocal asked
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for raw in socket:
            message = json.loads(raw.data)
            session, frame = {"sessionId": message["sessionId"]}, {"format": "jpeg", "isKeyframe": True, "width": 1, "height": 1}
            times = {"timestamp": 0, "audioTimestamp": 0, "model": "tpsm", "frameData": ""}
            if message["type"] == "lipsync_audio" and message["audioChunk"]["sequenceNumber"] == 0:
                await socket.send_json({"type": "response_start", "turnId": "turn-001", "model": "tpsm"} | session)
                await socket.send_json({"type": "response_video", "turnId": "turn-001", "sequenceNumber": 0} | session | frame | times)
                request.transport.abort()  # type: ignore[union-attr]
            elif message["type"] == "resume_session":
                asked += 1
                refusal = {"errorCode": "INVALID_MESSAGE", "errorMessage": "", "recoverable": False}
                if asked < 4:
                    await socket.send_json({"type": "error", "details": {"field": "sessionId", "workers": 2}} | session | refusal)
                    continue
                assert (message["turnId"], message["nextFrame"]) == ("turn-001", 1)
                standing = {"turnId": "turn-001", "nextSequenceNumber": 1, "openTurns": ["turn-001"]}
                await socket.send_json({"type": "session_resumed"} | session | standing)
            elif message["type"] == "end_utterance":
                await socket.send_json({"type": "response_end", "turnId": "turn-001", "metrics": {}} | session)
        return socket

    app = web.Application()
    app.add_routes([web.get("/v1/ws", serve)])
    async with TestServer(app) as server, connect(str(server.make_url("")), binary=False) as client:
        turn = client.session(user="demo").say(syllables(0.5))
        assert len([frame async for frame in turn.frames()]) == 1
        assert (asked, client.reconnections) == (4, 4)


async def test_an_interruption_ends_the_frames(service_url: str) -> None:
    async with connect(service_url) as client:
        session = client.session(user="demo", face="demo", size=128)
        turn = session.say(syllables(5.0))
        count = 0
        async for _ in turn.frames():
            count += 1
            if count == 10:
                await turn.interrupt()
        assert turn.interrupted
        assert count < 30
        assert len([frame async for frame in session.say(syllables(0.3)).frames()]) == 6


async def test_errors_have_their_own_types(service_url: str) -> None:
    async with connect(service_url) as client:
        with pytest.raises(FaceModelNotFoundError):
            _ = [frame async for frame in client.session(user="demo", face="nobody").say(syllables(0.2)).frames()]
        with pytest.raises(InvalidMessageError) as caught:
            _ = [frame async for frame in client.session(user="demo", fps=99).say(syllables(0.2)).frames()]
        assert caught.value.field == "config.targetFps"
        session = client.session(user="demo", face="demo", session_id="mine")
        turn = session.say(syllables(1.0))
        async for _ in turn.frames():
            break
        async with connect(service_url) as stranger:
            with pytest.raises(UnauthorizedError):
                _ = [frame async for frame in stranger.session(user="mallory", session_id="mine").say(syllables(0.2)).frames()]


async def test_a_service_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(ConnectionFailedError):
        async with connect("http://127.0.0.1:9"):
            pass


async def test_a_service_that_does_not_come_back_fails_the_turn(service_url: str) -> None:
    async with connect(service_url, give_up_s=0.5) as client:
        turn = client.session(user="demo", face="demo", size=128).say(syllables(5.0))
        client._url = "http://127.0.0.1:9/v1/ws"
        with pytest.raises(ConnectionFailedError):
            async for frame in turn.frames():
                if frame.sequence_number == 2:
                    await cut(client)


def test_a_recording_in_another_coding_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "eight.wav"
    with wave.open(str(path), "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(1)
        clip.setframerate(8000)
        clip.writeframes(bytes(800))
    session = connect("http://127.0.0.1:9").session(user="demo")
    with pytest.raises(ValueError, match="16-bit PCM"):
        session.say_wav(path)
