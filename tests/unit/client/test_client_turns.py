"""Turns of the Python client: sending, replay and interruption, across lost connections."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from scripted_transport import ScriptedTransport
from virtual_time import run_virtual

from orchestrator.client import (
    ClientSession,
    ClientTurn,
    ConnectionFailedError,
    FaceModelNotFoundError,
    LipSyncClientError,
    SessionLostError,
)

SECOND = bytes(32_000)


def play(
    script: Callable[[ScriptedTransport, ClientSession], Awaitable[None]],
) -> ScriptedTransport:
    transport = ScriptedTransport()

    async def played() -> None:
        session = transport.session()
        await script(transport, session)
        await session.abandon(None)
        await asyncio.sleep(0)  # what was cancelled ends

    run_virtual(played())
    return transport


async def frames(turn: ClientTurn) -> list[int]:
    """Numbers of the turn's frames; TimeoutError instead of waiting for ever."""
    async with asyncio.timeout(60.0):
        return [frame.sequence_number async for frame in turn.frames()]


async def begin(transport: ScriptedTransport, session: ClientSession, turn: ClientTurn) -> None:
    await transport.deliver(session, "response_start", turnId=turn.id, model="tpsm")


async def end(transport: ScriptedTransport, session: ClientSession, turn: ClientTurn) -> None:
    await transport.deliver(session, "response_end", turnId=turn.id, metrics={}, interrupted=False)


@pytest.mark.parametrize("channels", [1, 2])
def test_pieces_that_break_a_sample_off_lose_nothing(channels: int) -> None:
    audio = bytes(range(256)) * 50

    async def in_odd_pieces(_: ScriptedTransport, session: ClientSession) -> None:
        turn = session.turn(channels=channels)
        for start in range(0, len(audio), 3201):
            await turn.send(audio[start : start + 3201])
        await turn.send(b"")
        await turn.end()

    sent = [
        base64.b64decode(message["audioChunk"]["data"])
        for message in play(in_odd_pieces).of("lipsync_audio")
    ]
    assert b"".join(sent) == audio
    assert all(len(chunk) % (2 * channels) == 0 for chunk in sent)


def test_a_turn_without_audio_is_over_with_its_end() -> None:
    async def empty(_: ScriptedTransport, session: ClientSession) -> None:
        by_hand = session.turn()
        await by_hand.end()
        assert await frames(by_hand) == []
        assert await frames(session.say(b"")) == []
        after = session.say(SECOND)
        await asyncio.sleep(2.0)
        assert after.chunks_sent == 10

    assert play(empty).kinds() == ["lipsync_audio"] * 10 + ["end_utterance"]


def test_recordings_are_said_one_after_another() -> None:
    async def queued(_: ScriptedTransport, session: ClientSession) -> None:
        turns = [session.say(SECOND) for _ in range(3)]
        assert [turn.id for turn in turns] == ["turn-001", "turn-002", "turn-003"]
        await asyncio.sleep(3.5)

    transport = play(queued)
    assert transport.chunks() == [
        (f"turn-00{turn}", number) for turn in (1, 2, 3) for number in range(10)
    ]
    assert transport.kinds() == (["lipsync_audio"] * 10 + ["end_utterance"]) * 3


def test_a_recording_waits_for_the_end_of_a_turn_that_comes_piece_by_piece_and_the_other_way_round() -> (
    None
):
    async def mixed(_: ScriptedTransport, session: ClientSession) -> None:
        first = session.turn()
        await first.send(SECOND)
        recording = session.say(SECOND)
        await asyncio.sleep(5.0)
        assert recording.chunks_sent == 0
        await first.end()
        await asyncio.sleep(0.05)
        last = session.turn()
        await last.send(SECOND)
        await last.end()

    assert [turn for turn, number in play(mixed).chunks() if number == 9] == [
        "turn-001",
        "turn-002",
        "turn-003",
    ]


def test_a_recording_that_is_given_up_while_it_waits_holds_up_no_other() -> None:
    async def given_up(_: ScriptedTransport, session: ClientSession) -> None:
        first, second, third = (session.say(SECOND) for _ in range(3))
        await asyncio.sleep(0.55)
        await second.interrupt()
        assert await frames(second) == []
        assert (second.interrupted, first.done) == (True, False)
        await asyncio.sleep(2.0)
        assert (first.chunks_sent, second.chunks_sent, third.chunks_sent) == (10, 0, 10)

    transport = play(given_up)
    assert [number for turn, number in transport.chunks() if turn == "turn-001"] == list(range(10))
    assert transport.of("interruption") == []


def test_an_interruption_names_its_turn_and_leaves_one_that_is_over_alone() -> None:
    async def interrupted(transport: ScriptedTransport, session: ClientSession) -> None:
        first, second = session.say(SECOND), session.say(SECOND)
        await asyncio.sleep(1.55)
        await begin(transport, session, first)
        await end(transport, session, first)
        await begin(transport, session, second)
        await first.interrupt()
        assert transport.of("interruption") == []
        await second.interrupt()
        await second.interrupt()
        await second.send(SECOND)
        await end(transport, session, second)
        assert await frames(second) == []

    transport = play(interrupted)
    assert [message["turnId"] for message in transport.of("interruption")] == ["turn-002"]
    assert transport.kinds()[-1] == "interruption"


def test_an_interruption_before_the_first_chunk_ends_the_turn() -> None:
    async def at_once(_: ScriptedTransport, session: ClientSession) -> None:
        turn = session.say(SECOND)
        await turn.interrupt()
        assert await frames(turn) == []

    assert play(at_once).sent == []


def test_an_interruption_before_the_service_answered_ends_the_turn() -> None:
    async def early(_: ScriptedTransport, session: ClientSession) -> None:
        turn = session.say(SECOND)
        await asyncio.sleep(0.15)
        await turn.interrupt()
        assert await frames(turn) == []

    assert play(early).kinds() == ["lipsync_audio", "interruption"]


def test_audio_after_the_end_is_refused_in_words() -> None:
    async def late(_: ScriptedTransport, session: ClientSession) -> None:
        turn = session.turn()
        await turn.send(SECOND)
        await turn.end()
        with pytest.raises(LipSyncClientError, match="turn-001 is over"):
            await turn.send(SECOND)

    assert len(play(late).chunks()) == 10


@pytest.mark.parametrize("piece_s", [0.01, 0.02, 0.1])
def test_half_a_minute_is_kept_however_short_the_pieces_are(piece_s: float) -> None:
    async def away(transport: ScriptedTransport, session: ClientSession) -> None:
        transport.is_connected = False
        session.connection_lost()
        turn = session.turn()
        for _ in range(round(40.0 / piece_s)):
            await turn.send(bytes(round(32_000 * piece_s)))
        transport.is_connected = True
        await session.connection_restored()

    transport = play(away)
    assert transport.chunks()[0] == ("turn-001", round(10.0 / piece_s))
    assert (
        sum(len(base64.b64decode(message["audioChunk"]["data"])) for message in transport.sent)
        == 30 * 32_000
    )
    assert transport.sent[0]["faceModelId"] == "demo"  # the first that arrives opens the turn
    assert "faceModelId" not in transport.sent[1] or transport.sent[1]["faceModelId"] is None


def test_what_comes_while_the_rest_is_sent_again_follows_it() -> None:
    async def back(transport: ScriptedTransport, session: ClientSession) -> None:
        session.connection_lost()
        turn = session.turn()
        await turn.send(SECOND)
        send = transport.send

        async def slowly(message: str | bytes) -> bool:
            await asyncio.sleep(0.01)
            return await send(message)

        transport.send = slowly  # type: ignore[method-assign]
        returning = asyncio.create_task(session.connection_restored())
        await asyncio.sleep(0.05)
        await turn.send(SECOND)
        await returning
        await turn.end()

    transport = play(back)
    assert transport.chunks() == [("turn-001", number) for number in range(20)]
    assert transport.kinds()[-1] == "end_utterance"


def test_the_end_of_a_turn_follows_its_missing_audio_however_the_connection_broke() -> None:
    async def unnoticed(transport: ScriptedTransport, session: ClientSession) -> None:
        turn = session.turn()
        await turn.send(SECOND)
        transport.is_connected = False
        await turn.send(SECOND)
        await turn.end()
        session.connection_lost()
        transport.is_connected = True
        await session.connection_restored()
        transport.sent.clear()
        await transport.deliver(
            session, "session_resumed", turnId=turn.id, nextSequenceNumber=10, openTurns=[turn.id]
        )

    transport = play(unnoticed)
    assert transport.chunks() == [("turn-001", number) for number in range(10, 20)]
    assert transport.kinds()[-1] == "end_utterance"
    assert len(transport.of("end_utterance")) == 1


def test_an_interruption_that_was_lost_with_the_connection_is_said_again() -> None:
    async def lost(transport: ScriptedTransport, session: ClientSession) -> None:
        turn = session.turn()
        await turn.send(SECOND)
        await begin(transport, session, turn)
        await turn.interrupt()
        session.connection_lost()
        assert await frames(turn) == []
        await session.connection_restored()
        transport.sent.clear()
        await transport.deliver(
            session, "session_resumed", turnId=turn.id, nextSequenceNumber=5, openTurns=[turn.id]
        )

    assert [(message["type"], message["turnId"]) for message in play(lost).sent] == [
        ("interruption", "turn-001")
    ]


def test_an_interruption_that_was_lost_before_the_service_answered_is_said_again() -> None:
    async def lost(transport: ScriptedTransport, session: ClientSession) -> None:
        turn = session.turn()
        await turn.send(SECOND)
        await turn.interrupt()
        session.connection_lost()
        await session.connection_restored()
        transport.sent.clear()
        await transport.deliver(
            session, "session_resumed", turnId=turn.id, nextSequenceNumber=5, openTurns=[turn.id]
        )

    assert [(message["type"], message["turnId"]) for message in play(lost).sent] == [
        ("interruption", "turn-001")
    ]


def test_turns_interrupted_while_the_connection_is_away_are_each_given_up_before_the_next_is_sent() -> (
    None
):
    async def away(transport: ScriptedTransport, session: ClientSession) -> None:
        turns = [session.turn(), session.turn()]
        for turn in turns:
            await turn.send(SECOND)
            await turn.end()
        await begin(transport, session, turns[0])
        session.connection_lost()
        for turn in turns:
            await turn.interrupt()
        await session.turn().send(SECOND[:3200])
        await session.connection_restored()
        transport.sent.clear()
        await transport.deliver(
            session,
            "session_resumed",
            turnId=None,
            nextSequenceNumber=0,
            openTurns=[turn.id for turn in turns],
        )

    said = [(message["type"], message["turnId"]) for message in play(away).sent]
    assert said == [
        ("interruption", "turn-001"),
        ("interruption", "turn-002"),
        ("lipsync_audio", "turn-003"),
    ]


def test_a_turn_refused_with_its_session_is_not_said_again_after_a_lost_connection() -> None:
    async def refused(transport: ScriptedTransport, session: ClientSession) -> None:
        first = session.turn()
        await first.send(SECOND)
        await transport.refuse(session, "VIDEO_GENERATION_FAILED", recoverable=False)
        second = session.turn()
        await second.send(SECOND)
        await begin(transport, session, second)
        session.connection_lost()
        transport.sent.clear()
        await session.connection_restored()
        await transport.deliver(
            session,
            "session_resumed",
            turnId=second.id,
            nextSequenceNumber=9,
            openTurns=[second.id],
        )

    assert [(message["type"], message["turnId"]) for message in play(refused).sent] == [
        ("resume_session", "turn-002"),
        ("lipsync_audio", "turn-002"),
    ]


def test_a_model_switch_during_the_replay_is_sent() -> None:
    async def switched(transport: ScriptedTransport, session: ClientSession) -> None:
        turn = session.turn()
        await turn.send(SECOND)
        session.connection_lost()
        await session.connection_restored()
        send = transport.send

        async def slowly(message: str | bytes) -> bool:
            await asyncio.sleep(0.01)
            return await send(message)

        transport.send = slowly  # type: ignore[method-assign]
        resumed = transport.deliver(
            session, "session_resumed", turnId=turn.id, nextSequenceNumber=5, openTurns=[turn.id]
        )
        resuming = asyncio.create_task(resumed)
        await asyncio.sleep(0.035)
        await session.switch_model("static")
        await resuming

    assert len(play(switched).of("switch_model")) == 1


def test_a_turn_whose_end_the_service_has_is_not_ended_again() -> None:
    async def resumed(transport: ScriptedTransport, session: ClientSession) -> None:
        first, second = session.turn(), session.turn()
        await first.send(SECOND)
        await first.end()
        await begin(transport, session, first)
        await second.send(SECOND)
        session.connection_lost()
        await session.connection_restored()
        transport.sent.clear()
        standing = {
            "turnId": second.id,
            "nextSequenceNumber": 8,
            "openTurns": [first.id, second.id],
        }
        await transport.deliver(session, "session_resumed", **standing)

    transport = play(resumed)
    assert transport.chunks() == [("turn-002", 8), ("turn-002", 9)]
    assert transport.of("end_utterance") == []


def test_a_turn_that_the_service_never_answered_opens_the_lost_session_anew() -> None:
    async def restarted(transport: ScriptedTransport, session: ClientSession) -> None:
        first, second = session.say(SECOND), session.say(SECOND)
        await asyncio.sleep(0.55)
        await begin(transport, session, first)
        session.connection_lost()
        await asyncio.sleep(1.0)
        await session.connection_restored()
        transport.sent.clear()
        await transport.refuse(session, "INVALID_MESSAGE", recoverable=False, field="sessionId")
        with pytest.raises(SessionLostError):
            await frames(first)
        await asyncio.sleep(1.5)
        await begin(transport, session, second)
        await end(transport, session, second)
        assert await frames(second) == []

    transport = play(restarted)
    assert transport.chunks() == [("turn-002", number) for number in range(10)]
    assert transport.kinds()[-1] == "end_utterance"


def test_an_error_that_ends_the_session_reaches_every_turn_that_was_sent() -> None:
    async def ended(transport: ScriptedTransport, session: ClientSession) -> None:
        turns = [session.turn(), session.turn()]
        for turn in turns:
            await turn.send(SECOND)
            await turn.end()
        await transport.refuse(session, "FACE_MODEL_NOT_FOUND", recoverable=False)
        for turn in turns:
            with pytest.raises(FaceModelNotFoundError):
                await frames(turn)

    play(ended)


def test_a_turn_on_a_failed_connection_fails_at_once() -> None:
    async def dead(transport: ScriptedTransport, session: ClientSession) -> None:
        transport.failure = ConnectionFailedError("gone")
        by_hand = session.turn()
        for attempt in (by_hand.send(SECOND), frames(by_hand), frames(session.say(SECOND))):
            with pytest.raises(ConnectionFailedError, match="gone"):
                await attempt
        assert transport.attached == {}

    play(dead)


def test_audio_of_a_wrong_type_fails_the_frames(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def wrong(_: ScriptedTransport, session: ClientSession) -> None:
        audio: Any = "no audio at all"
        with pytest.raises(LipSyncClientError, match="could not be sent"):
            await frames(session.say(audio))

    play(wrong)
    assert "turn-001" in caplog.text


def test_a_closed_session_is_forgotten_until_its_next_turn() -> None:
    async def closed(transport: ScriptedTransport, session: ClientSession) -> None:
        turn = session.say(SECOND)
        await asyncio.sleep(0.35)
        assert list(transport.attached) == ["session-1"]
        await session.close()
        assert transport.attached == {}
        assert await frames(turn) == []
        again = session.say(SECOND)
        assert list(transport.attached) == ["session-1"]
        await asyncio.sleep(1.5)
        assert again.chunks_sent == 10

    assert play(closed).kinds() == ["lipsync_audio"] * 3 + ["end_session"] + [
        "lipsync_audio"
    ] * 10 + ["end_utterance"]
