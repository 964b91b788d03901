"""A client and the real service: turns, pictures, interruption, bad input, and sessions that do not
disturb each other.
"""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import json
import struct
from collections.abc import Callable
from typing import Any

import aiohttp
import av
import numpy as np
import pytest
import simplejpeg
from ws_client import FIRST_TIMESTAMP_MS, connect, syllables

from orchestrator.core.logs import configure_logging
from orchestrator.protocol import BINARY_SUBPROTOCOL, split_binary


async def test_a_seed_shaped_client_gets_every_frame(service_url: str) -> None:
    async with connect(service_url) as client:
        await client.speak(syllables(2.0), real_time=True, modelPreference="tpsm")
        end = await client.until("response_end")
    frames = client.frames()
    assert client.received[0]["type"] == "response_start"
    assert [frame["sequenceNumber"] for frame in frames] == list(range(40))
    assert [frame["audioTimestamp"] for frame in frames] == [
        FIRST_TIMESTAMP_MS + 50 * index for index in range(40)
    ]
    assert all(abs(frame["timestamp"] - frame["audioTimestamp"]) < 50 for frame in frames)
    assert {frame["model"] for frame in frames} == {"tpsm"}
    assert {frame["turnId"] for frame in frames} == {"turn-001"}
    assert end["metrics"]["framesGenerated"] == 40
    assert end["metrics"]["framesDropped"] == 0


@pytest.mark.parametrize("size", [128, 256, 512])
async def test_jpeg_frames_have_the_size_that_was_asked_for(service_url: str, size: int) -> None:
    async with connect(service_url) as client:
        await client.speak(
            syllables(0.3), config={"resolution": {"width": size, "height": size}, "format": "jpeg"}
        )
        await client.until("response_end")
    for frame in client.frames():
        assert (frame["width"], frame["height"], frame["isKeyframe"]) == (size, size, True)
        assert simplejpeg.decode_jpeg_header(base64.b64decode(frame["frameData"]))[:2] == (
            size,
            size,
        )


async def test_h264_of_a_whole_turn_decodes_without_error(service_url: str) -> None:
    async with connect(service_url) as client:
        await client.speak(syllables(2.0), config={"format": "h264", "targetFps": 25})
        await client.until("response_end")
    stream = b"".join(base64.b64decode(frame["frameData"]) for frame in client.frames())
    with av.open(io.BytesIO(stream), format="h264") as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == len(client.frames()) == 50
    assert [index for index, frame in enumerate(client.frames()) if frame["isKeyframe"]] == [0, 30]


async def test_the_mouth_moves_with_the_voice_and_rests_in_silence(service_url: str) -> None:
    async with connect(service_url) as client:
        await client.speak(bytes(32000) + syllables(1.0) + bytes(32000))
        await client.until("response_end")
    pictures = [
        simplejpeg.decode_jpeg(base64.b64decode(frame["frameData"]), "GRAY")[
            140:220, 80:180
        ].astype(float)
        for frame in client.frames()
    ]
    steps = np.array(
        [np.abs(after - before).mean() for before, after in itertools.pairwise(pictures)]
    )
    assert steps[20:39].max() > 4 * steps[:17].max()
    assert steps[45:].max() < 0.25 * steps[20:39].max()


async def test_two_sessions_on_one_connection_are_kept_apart(service_url: str) -> None:
    async with connect(service_url) as client:
        await asyncio.gather(
            client.speak(syllables(1.0), session="a"), client.speak(syllables(1.5), session="b")
        )
        await client.until("response_end")
        await client.until("response_end")
    assert len(client.frames(session="a")) == 20
    assert len(client.frames(session="b")) == 30


async def test_after_an_interruption_only_frames_in_flight_arrive(service_url: str) -> None:
    async with connect(service_url) as client:
        await client.speak(syllables(10.0), turnId="long", end=False)
        while len(client.frames()) < 15:
            await client.next()
        await client.send(
            {"type": "interruption", "sessionId": "session-1", "timestamp": 0, "turnIndex": 0}
        )
        before = len(client.frames())
        await client.until("response_end")
        assert len(client.frames()) - before <= 8
        assert client.received[-1]["interrupted"]
        await client.speak(syllables(1.0), turnId="next")
        await client.until("response_end", turnId="next")
    assert len(client.frames("next")) == 20
    assert client.received.index(client.frames("next")[0]) > client.received.index(
        client.frames("long")[-1]
    )


BAD: list[tuple[str, dict[str, Any] | str, str]] = [
    ("not JSON", "hello", "message"),
    ("a list", "[]", "message"),
    ("no type", {"sessionId": "session-1"}, "type"),
    ("unknown type", {"type": "sing", "sessionId": "session-1"}, "type"),
    ("missing field", {"type": "end_utterance"}, "sessionId"),
    (
        "wrong type",
        {"type": "lipsync_audio", "sessionId": "session-1", "userId": "demo", "audioChunk": "loud"},
        "audioChunk",
    ),
    ("unknown session", {"type": "end_utterance", "sessionId": "stranger"}, "sessionId"),
    ("traversal", {"type": "end_session", "sessionId": "../../etc"}, "sessionId"),
    (
        "unknown model",
        {"type": "switch_model", "sessionId": "session-1", "model": "magic"},
        "model",
    ),
]


@pytest.mark.parametrize(
    ("message", "field"),
    [(message, field) for _, message, field in BAD],
    ids=[name for name, _, _ in BAD],
)
async def test_a_bad_message_is_named_and_the_session_goes_on(
    service_url: str, message: dict[str, Any] | str, field: str
) -> None:
    async with connect(service_url) as client:
        await client.speak(syllables(0.5), end=False)
        await client.send(message)
        error = await client.until("error")
        await client.speak(syllables(0.5))
        await client.until("response_end")
    assert error["errorCode"] == "INVALID_MESSAGE"
    assert error["details"]["field"] == field
    assert len(client.frames()) == 20


BAD_AUDIO: list[tuple[str, bytes, dict[str, Any], str, int]] = [
    ("0 bytes", b"", {}, "audioChunk.data", 0),
    ("10 MB", bytes(10_000_000), {}, "audioChunk.data", 0),
    ("2.5 s", bytes(80_000), {}, "audioChunk.data", 50),
    ("odd byte count", bytes(3199), {}, "audioChunk.data", 2),
    ("format changed in mid-turn", b"\xfc", {"format": "opus"}, "audioChunk.format", 1),
    ("rate changed in mid-turn", bytes(3200), {"sampleRate": 8000}, "audioChunk.sampleRate", 4),
    ("three channels", bytes(3200), {"channels": 3}, "audioChunk.channels", 0),
]
"""The last number is that of the frames that the chunk lasts: where that is known, silence stands
in for it.
"""


@pytest.mark.parametrize(
    ("data", "chunk", "field", "rests"),
    [case[1:] for case in BAD_AUDIO],
    ids=[case[0] for case in BAD_AUDIO],
)
async def test_bad_audio_is_named_and_every_session_goes_on(
    service_url: str, data: bytes, chunk: dict[str, Any], field: str, rests: int
) -> None:
    async with connect(service_url) as client:
        await client.speak(syllables(0.5), end=False)
        await client.speak(syllables(0.5), session="other", end=False)
        await client.say(data, 5, chunk=chunk)
        error = await client.until("error")
        for session in ("session-1", "other"):
            await client.speak(syllables(0.5), session=session)
        await client.until("response_end")
        await client.until("response_end")
    assert error["details"]["field"] == field
    assert error["sessionId"] == "session-1"
    assert (len(client.frames()), len(client.frames(session="other"))) == (20 + rests, 20)


def nan_wav() -> bytes:
    samples = np.full(1600, np.nan, "<f4").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(samples),
        b"WAVE",
        b"fmt ",
        16,
        3,
        1,
        16000,
        64000,
        4,
        32,
        b"data",
        len(samples),
    )
    return header + samples


@pytest.mark.parametrize(
    ("data", "coding"),
    [
        (b"RIFF but no more", "wav"),
        (nan_wav(), "wav"),
        (b"\xff", "opus"),
        (b"OggS" + bytes(8), "opus"),
    ],
    ids=["junk WAV", "NaN WAV", "truncated Opus", "truncated Ogg"],
)
async def test_coded_audio_that_cannot_be_read_is_named_and_the_session_goes_on(
    service_url: str, data: bytes, coding: str
) -> None:
    async with connect(service_url) as client:
        await client.say(data, chunk={"format": coding})
        error = await client.until("error")
        await client.send({"type": "end_utterance", "sessionId": "session-1"})
        await client.speak(syllables(0.5))
        await client.until("response_end", turnId="turn-002")
    assert error["details"]["field"] == "audioChunk.data"
    assert len(client.frames("turn-002")) == 10


async def test_an_unknown_face_is_told_and_the_connection_stays(service_url: str) -> None:
    async with connect(service_url) as client:
        await client.say(syllables(0.1), session="lost", faceModelId="nobody")
        error = await client.until("error")
        await client.speak(syllables(0.5))
        await client.until("response_end")
    assert (error["errorCode"], error["sessionId"], error["recoverable"]) == (
        "FACE_MODEL_NOT_FOUND",
        "lost",
        False,
    )
    assert len(client.frames()) == 10


async def test_another_user_cannot_use_a_session(service_url: str) -> None:
    async with connect(service_url) as client, connect(service_url) as stranger:
        await client.speak(syllables(0.3), end=False)
        await client.until("response_start")
        await client.say(syllables(0.1), 3, userId="mallory")
        assert (await client.until("error"))["errorCode"] == "UNAUTHORIZED"
        await stranger.speak(
            syllables(0.3), userId="mallory", faceModelId=None
        )  # an id is its user's own
        assert (await stranger.until("error"))["errorCode"] == "FACE_MODEL_NOT_FOUND"
        await client.send({"type": "end_utterance", "sessionId": "session-1"})
        await client.until("response_end")
    assert len(client.frames()) == 6


async def test_a_session_that_ended_can_be_opened_again(service_url: str) -> None:
    async with connect(service_url) as client:
        for _ in range(2):
            await client.speak(syllables(0.3))
            await client.until("response_end")
            await client.send({"type": "end_session", "sessionId": "session-1"})
    async with connect(service_url) as client:
        await client.speak(syllables(0.3))
        await client.until("response_end")
    assert len(client.frames()) == 6


async def test_the_model_can_be_switched_in_mid_turn(service_url: str) -> None:
    async with connect(service_url) as client:
        await client.speak(syllables(0.5), end=False)
        await client.until("response_video")
        await client.send({"type": "switch_model", "sessionId": "session-1", "model": "static"})
        await client.speak(syllables(0.5))
        await client.until("response_end")
    switch = next(message for message in client.received if message["type"] == "model_switched")
    assert (switch["from"], switch["to"], switch["reason"]) == ("tpsm", "static", "REQUESTED")
    assert len(client.frames()) == 20


async def test_binary_messages_are_refused_in_words(service_url: str) -> None:
    async with connect(service_url) as client:
        await client.socket.send_bytes(b"\x00\x01")
        assert (await client.until("error"))["details"]["field"] == "message"


async def test_all_messages_are_valid_json_with_known_types(service_url: str) -> None:
    async with connect(service_url) as client:
        await client.speak(syllables(0.3))
        await client.until("response_end")
    assert {message["type"] for message in client.received} == {
        "response_start",
        "poster",
        "response_video",
        "response_end",
    }
    json.dumps(client.received)


async def test_the_binary_subprotocol_carries_a_turn_without_base64(service_url: str) -> None:
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{service_url}/v1/ws", protocols=[BINARY_SUBPROTOCOL]) as socket,
    ):
        assert socket.protocol == BINARY_SUBPROTOCOL
        for number in range(5):
            chunk = {
                "timestamp": 100 * number,
                "sequenceNumber": number,
                "sampleRate": 16000,
                "channels": 1,
                "format": "pcm",
            }
            header = {
                "type": "lipsync_audio",
                "sessionId": "b",
                "userId": "demo",
                "faceModelId": "demo",
                "audioChunk": chunk,
            }
            await socket.send_bytes(_binary(header, syllables(0.1)))
        await socket.send_json({"type": "end_utterance", "sessionId": "b"})
        frames = []
        while (
            not isinstance(data := (await socket.receive(timeout=30)).data, str)
            or json.loads(data)["type"] != "response_end"
        ):
            if isinstance(data, bytes):
                header, picture = split_binary(data)
                frames.append((json.loads(header), picture))
    assert [header["sequenceNumber"] for header, _ in frames] == list(range(10))
    assert all(simplejpeg.decode_jpeg_header(data)[:2] == (256, 256) for _, data in frames)


def _binary(header: dict[str, Any], payload: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "big") + text + payload


async def test_an_offset_beyond_correction_is_told_and_the_session_goes_on(
    service_url: str,
) -> None:
    async with connect(service_url) as client:
        await client.speak(syllables(0.3), end=False)
        for _ in range(30):
            await client.send(
                {"type": "client_report", "sessionId": "session-1", "avOffsetMs": 3000}
            )
        error = await client.until("error")
        await client.send({"type": "end_utterance", "sessionId": "session-1"})
        await client.until("response_end")
    assert (error["errorCode"], error["details"]) == ("SYNC_ERROR", {"field": "avOffsetMs"})


async def test_what_a_client_lost_is_counted_and_told_at_the_turns_end(service_url: str) -> None:
    async with connect(service_url) as client:
        await client.speak(syllables(1.0), end=False)
        while len(client.frames()) < 16:
            await client.next()
        await client.send(
            {"type": "client_report", "sessionId": "session-1", "packetLossPercent": 50}
        )
        await client.send({"type": "end_utterance", "sessionId": "session-1"})
        metrics = (await client.until("response_end"))["metrics"]
    assert 8 <= metrics["packetsLost"] <= 10, "half of the frames sent until then"


async def test_a_client_that_lost_frames_is_given_a_keyframe(service_url: str) -> None:
    async with connect(service_url) as client:
        await client.speak(syllables(0.6), end=False, config={"format": "h264"})
        while len(client.frames()) < 6:
            await client.next()
        await client.send({"type": "client_report", "sessionId": "session-1", "keyframe": True})
        for number in range(6, 10):
            await client.say(syllables(0.1), number)
        await client.send({"type": "end_utterance", "sessionId": "session-1"})
        await client.until("response_end")
    keyframes = [frame["sequenceNumber"] for frame in client.frames() if frame["isKeyframe"]]
    assert keyframes[0] == 0
    assert len(keyframes) == 2


async def test_a_burst_of_short_chunks_is_heard_whole(serving: Callable[..., Any]) -> None:
    """3 s of speech in 600 messages, of which 400 may come at once and 200 a second."""
    async with serving(max_messages_per_s=200, inbox_ms=3000) as url, connect(url) as client:
        audio = syllables(3.0)
        for number in range(300):
            chunk = {"timestamp": FIRST_TIMESTAMP_MS + 10 * number}
            await client.say(audio[number * 320 : (number + 1) * 320], number, chunk=chunk)
            await client.send({"type": "client_report", "sessionId": "session-1"})
        await client.send({"type": "end_utterance", "sessionId": "session-1"})
        await client.until("response_end")
    assert "error" not in {message["type"] for message in client.received}
    assert [frame["sequenceNumber"] for frame in client.frames()] == list(range(60))


@pytest.mark.usefixtures("root_as_it_was")
@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_nothing_that_a_client_says_is_logged(service_url: str, log_format: str) -> None:
    log = io.StringIO()
    configure_logging(log_format, log)
    forged = "x\n2026-01-01 00:00:00,000 ERROR all faces were deleted SECRET"
    async with connect(service_url) as client:
        await client.say(bytes(3200), chunk={"format": "SECRET"})
        await client.say(bytes(3200), modelPreference=forged)
        await client.say(bytes(3200), session=forged)
        await client.say(bytes(3200), faceModelId="SECRET")
        await client.send(
            {"type": "switch_model", "sessionId": "session-1", "model": "SECRET" * 1_000_000}
        )
        await client.send({"type": "end_session", "sessionId": "unknown"})
        told = [await client.until("error") for _ in range(6)]
    lines = [line for line in log.getvalue().splitlines() if "socket_sink" in line]
    assert len(lines) == 6
    assert "SECRET" not in log.getvalue()
    assert max(len(line) for line in lines) < 250
    assert [message["sessionId"] for message in told].count(None) == 1
    assert sum("session-1" in line for line in lines) == 4
