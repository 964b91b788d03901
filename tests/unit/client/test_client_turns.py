"""What a turn of the Python client sends, keeps and gives up, whatever pieces its audio comes in
and whatever becomes of the connection.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from scripted_line import ScriptedLine
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


def play(script: Callable[[ScriptedLine, ClientSession], Awaitable[None]]) -> ScriptedLine:
    line = ScriptedLine()

    async def played() -> None:
        session = line.session()
        await script(line, session)
        await session.abandon(None)
        await asyncio.sleep(0)  # what was cancelled ends

    run_virtual(played())
    return line


async def frames(turn: ClientTurn) -> list[int]:
    """Numbers of the turn's frames; TimeoutError instead of waiting for ever."""
    async with asyncio.timeout(60.0):
        return [frame.sequence_number async for frame in turn.frames()]


async def begin(line: ScriptedLine, session: ClientSession, turn: ClientTurn) -> None:
    await line.tell(session, "response_start", turnId=turn.id, model="tpsm")


async def end(line: ScriptedLine, session: ClientSession, turn: ClientTurn) -> None:
    await line.tell(session, "response_end", turnId=turn.id, metrics={}, interrupted=False)


@pytest.mark.parametrize("channels", [1, 2])
def test_pieces_that_break_a_sample_off_lose_nothing(channels: int) -> None:
    audio = bytes(range(256)) * 50

    async def in_odd_pieces(_: ScriptedLine, session: ClientSession) -> None:
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
    async def empty(_: ScriptedLine, session: ClientSession) -> None:
        by_hand = session.turn()
        await by_hand.end()
        assert await frames(by_hand) == []
        assert await frames(session.say(b"")) == []
        after = session.say(SECOND)
        await asyncio.sleep(2.0)
        assert after.chunks_sent == 10

    assert play(empty).kinds() == ["lipsync_audio"] * 10 + ["end_utterance"]


def test_recordings_are_said_one_after_another() -> None:
    async def queued(_: ScriptedLine, session: ClientSession) -> None:
        turns = [session.say(SECOND) for _ in range(3)]
        assert [turn.id for turn in turns] == ["turn-001", "turn-002", "turn-003"]
        await asyncio.sleep(3.5)

    line = play(queued)
    assert line.chunks() == [
        (f"turn-00{turn}", number) for turn in (1, 2, 3) for number in range(10)
    ]
    assert line.kinds() == (["lipsync_audio"] * 10 + ["end_utterance"]) * 3


def test_a_recording_waits_for_the_end_of_a_turn_that_comes_piece_by_piece_and_the_other_way_round() -> (
    None
):
    async def mixed(_: ScriptedLine, session: ClientSession) -> None:
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
    async def given_up(_: ScriptedLine, session: ClientSession) -> None:
        first, second, third = (session.say(SECOND) for _ in range(3))
        await asyncio.sleep(0.55)
        await second.interrupt()
        assert await frames(second) == []
        assert (second.interrupted, first.done) == (True, False)
        await asyncio.sleep(2.0)
        assert (first.chunks_sent, second.chunks_sent, third.chunks_sent) == (10, 0, 10)

    line = play(given_up)
    assert [number for turn, number in line.chunks() if turn == "turn-001"] == list(range(10))
    assert line.of("interruption") == []


def test_an_interruption_names_its_turn_and_leaves_one_that_is_over_alone() -> None:
    async def interrupted(line: ScriptedLine, session: ClientSession) -> None:
        first, second = session.say(SECOND), session.say(SECOND)
        await asyncio.sleep(1.55)
        await begin(line, session, first)
        await end(line, session, first)
        await begin(line, session, second)
        await first.interrupt()
        assert line.of("interruption") == []
        await second.interrupt()
        await second.interrupt()
        await second.send(SECOND)
        await end(line, session, second)
        assert await frames(second) == []

    line = play(interrupted)
    assert [message["turnId"] for message in line.of("interruption")] == ["turn-002"]
    assert line.kinds()[-1] == "interruption"


def test_an_interruption_before_the_first_chunk_ends_the_turn() -> None:
    async def at_once(_: ScriptedLine, session: ClientSession) -> None:
        turn = session.say(SECOND)
        await turn.interrupt()
        assert await frames(turn) == []

    assert play(at_once).said == []


def test_an_interruption_before_the_service_answered_ends_the_turn() -> None:
    async def early(_: ScriptedLine, session: ClientSession) -> None:
        turn = session.say(SECOND)
        await asyncio.sleep(0.15)
        await turn.interrupt()
        assert await frames(turn) == []

    assert play(early).kinds() == ["lipsync_audio", "interruption"]


def test_audio_after_the_end_is_refused_in_words() -> None:
    async def late(_: ScriptedLine, session: ClientSession) -> None:
        turn = session.turn()
        await turn.send(SECOND)
        await turn.end()
        with pytest.raises(LipSyncClientError, match="turn-001 is over"):
            await turn.send(SECOND)

    assert len(play(late).chunks()) == 10


@pytest.mark.parametrize("piece_s", [0.01, 0.02, 0.1])
def test_half_a_minute_is_kept_however_short_the_pieces_are(piece_s: float) -> None:
    async def away(line: ScriptedLine, session: ClientSession) -> None:
        line.is_there = False
        session.connection_lost()
        turn = session.turn()
        for _ in range(round(40.0 / piece_s)):
            await turn.send(bytes(round(32_000 * piece_s)))
        line.is_there = True
        await session.connection_back()

    line = play(away)
    assert line.chunks()[0] == ("turn-001", round(10.0 / piece_s))
    assert (
        sum(len(base64.b64decode(message["audioChunk"]["data"])) for message in line.said)
        == 30 * 32_000
    )
    assert line.said[0]["faceModelId"] == "demo"  # the first that arrives opens the turn
    assert "faceModelId" not in line.said[1] or line.said[1]["faceModelId"] is None


def test_what_comes_while_the_rest_is_sent_again_follows_it() -> None:
    async def back(line: ScriptedLine, session: ClientSession) -> None:
        session.connection_lost()
        turn = session.turn()
        await turn.send(SECOND)
        send = line.send

        async def slowly(message: str | bytes) -> bool:
            await asyncio.sleep(0.01)
            return await send(message)

        line.send = slowly  # type: ignore[method-assign]
        returning = asyncio.create_task(session.connection_back())
        await asyncio.sleep(0.05)
        await turn.send(SECOND)
        await returning
        await turn.end()

    line = play(back)
    assert line.chunks() == [("turn-001", number) for number in range(20)]
    assert line.kinds()[-1] == "end_utterance"


def test_the_end_of_a_turn_follows_its_missing_audio_however_the_connection_broke() -> None:
    async def unnoticed(line: ScriptedLine, session: ClientSession) -> None:
        turn = session.turn()
        await turn.send(SECOND)
        line.is_there = False
        await turn.send(SECOND)
        await turn.end()
        session.connection_lost()
        line.is_there = True
        await session.connection_back()
        line.said.clear()
        await line.tell(
            session, "session_resumed", turnId=turn.id, nextSequenceNumber=10, openTurns=[turn.id]
        )

    line = play(unnoticed)
    assert line.chunks() == [("turn-001", number) for number in range(10, 20)]
    assert line.kinds()[-1] == "end_utterance"
    assert len(line.of("end_utterance")) == 1


def test_an_interruption_that_was_lost_with_the_connection_is_said_again() -> None:
    async def lost(line: ScriptedLine, session: ClientSession) -> None:
        turn = session.turn()
        await turn.send(SECOND)
        await begin(line, session, turn)
        await turn.interrupt()
        session.connection_lost()
        assert await frames(turn) == []
        await session.connection_back()
        line.said.clear()
        await line.tell(
            session, "session_resumed", turnId=turn.id, nextSequenceNumber=5, openTurns=[turn.id]
        )

    assert [(message["type"], message["turnId"]) for message in play(lost).said] == [
        ("interruption", "turn-001")
    ]


def test_an_interruption_that_was_lost_before_the_service_answered_is_said_again() -> None:
    async def lost(line: ScriptedLine, session: ClientSession) -> None:
        turn = session.turn()
        await turn.send(SECOND)
        await turn.interrupt()
        session.connection_lost()
        await session.connection_back()
        line.said.clear()
        await line.tell(
            session, "session_resumed", turnId=turn.id, nextSequenceNumber=5, openTurns=[turn.id]
        )

    assert [(message["type"], message["turnId"]) for message in play(lost).said] == [
        ("interruption", "turn-001")
    ]


def test_turns_interrupted_while_the_connection_is_away_are_each_given_up_before_the_next_is_sent() -> (
    None
):
    async def away(line: ScriptedLine, session: ClientSession) -> None:
        turns = [session.turn(), session.turn()]
        for turn in turns:
            await turn.send(SECOND)
            await turn.end()
        await begin(line, session, turns[0])
        session.connection_lost()
        for turn in turns:
            await turn.interrupt()
        await session.turn().send(SECOND[:3200])
        await session.connection_back()
        line.said.clear()
        await line.tell(
            session,
            "session_resumed",
            turnId=None,
            nextSequenceNumber=0,
            openTurns=[turn.id for turn in turns],
        )

    said = [(message["type"], message["turnId"]) for message in play(away).said]
    assert said == [
        ("interruption", "turn-001"),
        ("interruption", "turn-002"),
        ("lipsync_audio", "turn-003"),
    ]


def test_a_turn_refused_with_its_session_is_not_said_again_after_a_lost_connection() -> None:
    async def refused(line: ScriptedLine, session: ClientSession) -> None:
        first = session.turn()
        await first.send(SECOND)
        await line.refuse(session, "VIDEO_GENERATION_FAILED", recoverable=False)
        second = session.turn()
        await second.send(SECOND)
        await begin(line, session, second)
        session.connection_lost()
        line.said.clear()
        await session.connection_back()
        await line.tell(
            session,
            "session_resumed",
            turnId=second.id,
            nextSequenceNumber=9,
            openTurns=[second.id],
        )

    assert [(message["type"], message["turnId"]) for message in play(refused).said] == [
        ("resume_session", "turn-002"),
        ("lipsync_audio", "turn-002"),
    ]


def test_a_wish_made_while_the_rest_is_sent_again_is_told() -> None:
    async def wished(line: ScriptedLine, session: ClientSession) -> None:
        turn = session.turn()
        await turn.send(SECOND)
        session.connection_lost()
        await session.connection_back()
        send = line.send

        async def slowly(message: str | bytes) -> bool:
            await asyncio.sleep(0.01)
            return await send(message)

        line.send = slowly  # type: ignore[method-assign]
        resumed = line.tell(
            session, "session_resumed", turnId=turn.id, nextSequenceNumber=5, openTurns=[turn.id]
        )
        resuming = asyncio.create_task(resumed)
        await asyncio.sleep(0.035)
        await session.switch_model("static")
        await resuming

    assert len(play(wished).of("switch_model")) == 1


def test_a_turn_whose_end_the_service_has_is_not_ended_again() -> None:
    async def resumed(line: ScriptedLine, session: ClientSession) -> None:
        first, second = session.turn(), session.turn()
        await first.send(SECOND)
        await first.end()
        await begin(line, session, first)
        await second.send(SECOND)
        session.connection_lost()
        await session.connection_back()
        line.said.clear()
        standing = {
            "turnId": second.id,
            "nextSequenceNumber": 8,
            "openTurns": [first.id, second.id],
        }
        await line.tell(session, "session_resumed", **standing)

    line = play(resumed)
    assert line.chunks() == [("turn-002", 8), ("turn-002", 9)]
    assert line.of("end_utterance") == []


def test_a_turn_that_the_service_never_answered_opens_the_lost_session_anew() -> None:
    async def restarted(line: ScriptedLine, session: ClientSession) -> None:
        first, second = session.say(SECOND), session.say(SECOND)
        await asyncio.sleep(0.55)
        await begin(line, session, first)
        session.connection_lost()
        await asyncio.sleep(1.0)
        await session.connection_back()
        line.said.clear()
        await line.refuse(session, "INVALID_MESSAGE", recoverable=False, field="sessionId")
        with pytest.raises(SessionLostError):
            await frames(first)
        await asyncio.sleep(1.5)
        await begin(line, session, second)
        await end(line, session, second)
        assert await frames(second) == []

    line = play(restarted)
    assert line.chunks() == [("turn-002", number) for number in range(10)]
    assert line.kinds()[-1] == "end_utterance"


def test_an_error_that_ends_the_session_reaches_every_turn_that_was_sent() -> None:
    async def ended(line: ScriptedLine, session: ClientSession) -> None:
        turns = [session.turn(), session.turn()]
        for turn in turns:
            await turn.send(SECOND)
            await turn.end()
        await line.refuse(session, "FACE_MODEL_NOT_FOUND", recoverable=False)
        for turn in turns:
            with pytest.raises(FaceModelNotFoundError):
                await frames(turn)

    play(ended)


def test_on_a_line_that_is_dead_a_turn_is_told_so_at_once() -> None:
    async def dead(line: ScriptedLine, session: ClientSession) -> None:
        line.failure = ConnectionFailedError("gone")
        by_hand = session.turn()
        for telling in (by_hand.send(SECOND), frames(by_hand), frames(session.say(SECOND))):
            with pytest.raises(ConnectionFailedError, match="gone"):
                await telling
        assert line.carried == {}

    play(dead)


def test_audio_of_a_wrong_type_is_told_to_the_reader_of_the_frames(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def wrong(_: ScriptedLine, session: ClientSession) -> None:
        audio: Any = "no audio at all"
        with pytest.raises(LipSyncClientError, match="could not be sent"):
            await frames(session.say(audio))

    play(wrong)
    assert "turn-001" in caplog.text


def test_a_closed_session_is_forgotten_until_its_next_turn() -> None:
    async def closed(line: ScriptedLine, session: ClientSession) -> None:
        turn = session.say(SECOND)
        await asyncio.sleep(0.35)
        assert list(line.carried) == ["session-1"]
        await session.close()
        assert line.carried == {}
        assert await frames(turn) == []
        again = session.say(SECOND)
        assert list(line.carried) == ["session-1"]
        await asyncio.sleep(1.5)
        assert again.chunks_sent == 10

    assert play(closed).kinds() == ["lipsync_audio"] * 3 + ["end_session"] + [
        "lipsync_audio"
    ] * 10 + ["end_utterance"]
