"""Conversations that lose their connection, in virtual time: what is sent to the next one, what is
too old, who waits and for how long.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from fakes import ScriptedAdapter, ScriptedInference, pcm_chunk, scripted_service
from virtual_time import run_virtual

from orchestrator import protocol
from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import LipSyncModel, Resolution, VideoFormat, VideoGenerationConfig
from orchestrator.sessions.directory import SessionDirectory
from orchestrator.sessions.live_session import LiveSession

M = TypeVar("M")


class WatchedLine:
    """Takes messages until it is `broken`."""

    def __init__(self, *, answering: bool = True) -> None:
        self.taken: list[tuple[float, protocol.ServerMessage]] = []
        self.told: list[LipSyncError] = []
        self.told_to: list[str | None] = []
        self.broken = False
        self.unspeakable: set[str] = set()
        """Sessions whose frames cannot be put into words."""
        self.cancelled_below: set[str] = set()
        """Sessions whose writing is cancelled though they did not ask for it."""
        self.answering = answering
        self.answer_s = 0.1
        self.hung_up = False
        self.cuts: list[tuple[str, str]] = []
        self.taking = asyncio.Event()
        """A slow client has it cleared."""
        self.taking.set()

    async def send(self, message: protocol.ServerMessage) -> None:
        await self.taking.wait()
        if self.broken:
            raise ConnectionResetError
        if isinstance(message, protocol.ResponseVideo) and message.session_id in self.unspeakable:
            raise RuntimeError("nobody foresaw this")
        if (
            isinstance(message, protocol.ResponseVideo)
            and message.session_id in self.cancelled_below
        ):
            raise asyncio.CancelledError
        self.taken.append((asyncio.get_running_loop().time(), message))

    async def send_error(self, error: LipSyncError, session_id: str | None) -> None:
        self.told.append(error)
        self.told_to.append(session_id)

    def cut_turn(self, session_id: str, turn_id: str) -> None:
        self.cuts.append((session_id, turn_id))

    async def responds(self) -> bool:
        await asyncio.sleep(self.answer_s)
        return self.answering

    def abort(self) -> None:
        self.hung_up = True

    def of(self, kind: type[M]) -> list[M]:
        return [message for _, message in self.taken if isinstance(message, kind)]

    def numbers(self) -> list[int]:
        return [frame.sequence_number for frame in self.of(protocol.ResponseVideo)]


class Exchange:
    """A directory over scripted models."""

    def __init__(self, **settings: Any) -> None:
        self.models = models = {
            model: ScriptedAdapter(model) for model in (LipSyncModel.TPSM, LipSyncModel.STATIC)
        }
        config = ServiceConfig(**settings)
        pipeline = scripted_service(models, ScriptedInference({"tpsm"}), config)
        service: Any = SimpleNamespace(
            instance="one", config=config, metrics=Metrics(), pipeline=pipeline
        )
        self.sessions, self.pipeline = SessionDirectory(service), pipeline

    def play(self, script: Callable[[Exchange], Awaitable[None]]) -> None:
        async def run() -> None:
            await script(self)
            await self.sessions.close()

        run_virtual(run())


def request(
    live: LiveSession, number: int, turn_id: str, seconds: float = 0.1
) -> protocol.AudioRequest:
    timestamp_ms = 1000.0 * seconds * number
    chunk = pcm_chunk(seconds, sequence_number=number, timestamp_ms=timestamp_ms)
    session, config = live.session, protocol.WireConfig()
    return protocol.AudioRequest(
        session.id, session.user_id, chunk, "face-1", None, turn_id, config
    )


async def say(
    live: LiveSession,
    first: int,
    chunks: int,
    *,
    real_time: bool = False,
    turn_id: str = "t",
) -> None:
    for number in range(first, first + chunks):
        await live.receive(request(live, number, turn_id))
        if real_time:
            await asyncio.sleep(0.1)


async def lose(exchange: Exchange, line: WatchedLine) -> None:
    line.broken = True
    await exchange.sessions.lost(line, closed=False)


@pytest.mark.parametrize("coding", [VideoFormat.JPEG, VideoFormat.H264])
def test_what_waited_is_sent_and_what_is_long_past_is_not(coding: VideoFormat) -> None:
    async def outage(exchange: Exchange) -> None:
        first, second = WatchedLine(), WatchedLine()
        live = exchange.sessions.open("s", "user-1", first)
        live.config = VideoGenerationConfig(resolution=Resolution(128, 128), format=coding)
        await say(live, 0, 200)  # 20 s at once; frames are paced
        await asyncio.sleep(3.0)
        await lose(exchange, first)
        await asyncio.sleep(10.0)
        back_s = asyncio.get_running_loop().time()
        await exchange.sessions.resume(live, second)
        await live.end_turn()
        await asyncio.sleep(30.0)
        assert isinstance(second.taken[0][1], protocol.SessionResumed)
        sent = len(first.numbers())
        assert second.numbers() == list(range(sent, sent + len(second.numbers())))
        assert second.of(protocol.ResponseVideo)[0].is_keyframe
        media_s = second.of(protocol.ResponseVideo)[0].audio_timestamp / 1000.0
        began_s = first.taken[0][0]
        assert media_s == pytest.approx(
            back_s - began_s - 2.0, abs=0.8
        )  # two seconds old at the most, and sent ahead by half a one
        assert second.of(protocol.ResponseVideo)[-1].audio_timestamp == 19_950.0
        (end,) = second.of(protocol.ResponseEnd)
        assert end.metrics.frames_dropped == 400 - sent - len(second.numbers())

    Exchange().play(outage)


def test_nothing_is_drawn_while_nobody_would_see_it() -> None:
    async def outage(exchange: Exchange) -> None:
        line = WatchedLine()
        live = exchange.sessions.open("s", "user-1", line)
        await say(live, 0, 100)
        await asyncio.sleep(1.0)
        await lose(exchange, line)
        await asyncio.sleep(1.0)
        waiting = len(live.session.delivery.outbox)
        await asyncio.sleep(5.0)
        assert len(live.session.delivery.outbox) == waiting <= 5
        assert live.session.delivery.stream.quality.bitrate.adapted is False

    Exchange().play(outage)


def test_frames_that_leave_more_than_their_own_length_late_are_counted() -> None:
    async def slow(exchange: Exchange) -> None:
        line = WatchedLine()
        live = exchange.sessions.open("s", "user-1", line)
        await say(live, 0, 10, real_time=True)
        late = functools.partial(
            exchange.pipeline.metrics.registry.get_sample_value, "lipsync_buffer_underruns_total"
        )
        assert late() == 0
        exchange.models[LipSyncModel.TPSM].script = [0.2]  # within its deadline
        await say(live, 10, 10, real_time=True)
        assert 2 <= (late() or 0) <= 6, (
            "those of the slow batch, and of the chunk that came meanwhile"
        )

    Exchange().play(slow)


def test_a_frame_that_could_not_be_written_is_the_first_one_sent() -> None:
    async def outage(exchange: Exchange) -> None:
        first, second = WatchedLine(), WatchedLine()
        live = exchange.sessions.open("s", "user-1", first)
        await say(live, 0, 5, real_time=True)
        sent = len(first.numbers())
        first.broken = True
        await say(live, 5, 3, real_time=True)
        assert first.hung_up
        await exchange.sessions.lost(first, closed=False)
        await exchange.sessions.resume(live, second)
        await say(live, 8, 2, real_time=True)
        assert first.numbers() + second.numbers() == list(range(sent + len(second.numbers())))
        times = [
            frame.audio_timestamp
            for frame in first.of(protocol.ResponseVideo) + second.of(protocol.ResponseVideo)
        ]
        assert times == [50.0 * number for number in range(len(times))]

    Exchange().play(outage)


def test_a_session_waits_as_long_as_it_may() -> None:
    async def outage(exchange: Exchange) -> None:
        line = WatchedLine()
        exchange.sessions.open("s", "user-1", line)
        await lose(exchange, line)
        await asyncio.sleep(29.0)
        assert (len(exchange.sessions), exchange.sessions.find("s", "user-1") is None) == (1, False)
        await asyncio.sleep(2.0)
        assert (len(exchange.sessions), exchange.sessions.find("s", "user-1") is None) == (0, True)

    Exchange(resume_ttl_s=30.0).play(outage)


def test_a_session_that_ends_as_it_opens_leaves_nothing_behind() -> None:
    async def hurry(exchange: Exchange) -> None:
        line = WatchedLine()
        before = len(asyncio.all_tasks())
        exchange.sessions.end(exchange.sessions.open("s", "user-1", line))
        await asyncio.sleep(1.0)
        assert len(asyncio.all_tasks()) == before
        assert len(exchange.sessions) == 0

    Exchange().play(hurry)


def test_a_resumed_session_waits_anew_when_it_is_lost_again() -> None:
    async def outages(exchange: Exchange) -> None:
        lines = [WatchedLine() for _ in range(4)]
        live = exchange.sessions.open("s", "user-1", lines[0])
        for before, after in pairwise(lines):
            await lose(exchange, before)
            await asyncio.sleep(20.0)
            await exchange.sessions.resume(live, after)
        assert exchange.sessions.on(lines[-1], "s") is live

    Exchange(resume_ttl_s=30.0).play(outages)


def test_of_two_connections_that_want_a_lost_session_one_gets_it() -> None:
    async def race(exchange: Exchange) -> None:
        dead, first, second = WatchedLine(answering=False), WatchedLine(), WatchedLine()
        live = exchange.sessions.open("s", "user-1", dead)
        answers = await asyncio.gather(
            *(exchange.sessions.resume(live, line) for line in (first, second)),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] in (
            [type(None), LipSyncError],
            [LipSyncError, type(None)],
        )
        assert dead.hung_up
        assert live.sink in (first, second)

    Exchange().play(race)


def test_a_session_that_was_given_to_one_connection_is_not_taken_by_another_that_asked_at_the_same_time() -> (
    None
):
    async def race(exchange: Exchange) -> None:
        dead, first, second = WatchedLine(answering=False), WatchedLine(), WatchedLine()
        live = exchange.sessions.open("s", "user-1", dead)
        dead.answer_s = 0.5
        slow = asyncio.create_task(exchange.sessions.resume(live, second))
        await asyncio.sleep(0.1)
        dead.answer_s = 0.0
        await exchange.sessions.resume(live, first)
        with pytest.raises(LipSyncError, match="gone on elsewhere"):
            await slow
        assert (live.sink, exchange.sessions.on(first, "s")) == (first, live)
        await say(live, 0, 5, real_time=True)
        assert len(first.numbers()) > 0

    Exchange().play(race)


@pytest.mark.parametrize("sessions", [3, 6])
def test_a_session_that_went_on_elsewhere_stays_there_while_the_others_of_its_lost_connection_are_parked(
    sessions: int,
) -> None:
    async def outage(exchange: Exchange) -> None:
        first, second = WatchedLine(answering=False), WatchedLine()
        first.answer_s = 0.0  # its socket is closed
        live_sessions = [
            exchange.sessions.open(f"s-{number}", "user-1", first) for number in range(sessions)
        ]
        for live in live_sessions:
            await say(live, 0, 10)
        await asyncio.sleep(0.2)
        lost = asyncio.create_task(lose(exchange, first))
        await asyncio.sleep(0.0)  # the first one is being parked
        for live in reversed(live_sessions):
            await exchange.sessions.resume(live, second)
        await lost
        for live in live_sessions:
            assert exchange.sessions.on(second, live.session.id) is live
            await live.end_turn()
        await asyncio.sleep(60.0)
        assert sorted(end.session_id for end in second.of(protocol.ResponseEnd)) == [
            each.session.id for each in live_sessions
        ]

    Exchange(max_sessions_per_user=sessions).play(outage)


def test_where_the_turn_that_the_client_names_has_ended_the_next_one_is_counted_from_0() -> None:
    async def outage(exchange: Exchange) -> None:
        first, second = WatchedLine(), WatchedLine()
        live = exchange.sessions.open("s", "user-1", first)
        await say(live, 0, 10, turn_id="a")
        await live.end_turn()
        await say(live, 0, 40, turn_id="b")
        await live.end_turn()
        await asyncio.sleep(1.4)
        seen = [
            frame.sequence_number
            for frame in first.of(protocol.ResponseVideo)
            if frame.turn_id == "a"
        ]
        assert len(first.numbers()) > len(seen)
        await lose(exchange, first)
        await exchange.sessions.resume(
            live, second, protocol.ResumeSession("s", "user-1", "a", len(seen))
        )  # all else was lost on its way
        await asyncio.sleep(10.0)
        numbers = [
            frame.sequence_number
            for frame in second.of(protocol.ResponseVideo)
            if frame.turn_id == "b"
        ]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > 20

    Exchange().play(outage)


def test_time_is_over_for_a_session_that_nobody_is_there_for() -> None:
    async def outage(exchange: Exchange) -> None:
        line = WatchedLine()
        exchange.sessions.open("s", "user-1", line)
        await asyncio.sleep(3590.0)
        await lose(exchange, line)
        await asyncio.sleep(15.0)
        assert len(exchange.sessions) == 0

    Exchange(max_session_s=3600.0).play(outage)


def test_a_warning_comes_a_minute_before_the_end() -> None:
    async def hour(exchange: Exchange) -> None:
        line, loop = WatchedLine(), asyncio.get_running_loop()
        exchange.sessions.open("s", "user-1", line)
        began_s = loop.time()
        await asyncio.sleep(3601.0)
        ((warned_s, warning),) = line.taken
        assert isinstance(warning, protocol.SessionWarning)
        assert (warned_s - began_s, warning.seconds_left) == (pytest.approx(3540.0), 60.0)
        assert [error.code for error in line.told] == [LipSyncErrorCode.SESSION_LIMIT]
        assert len(exchange.sessions) == 0

    Exchange(max_session_s=3600.0).play(hour)


@pytest.mark.parametrize("where", ["drawing", "sending", "below"])
def test_a_fault_that_nobody_foresaw_ends_its_session_and_no_other_one(
    where: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def trouble(exchange: Exchange) -> None:
        line = WatchedLine()
        innocent, unlucky = (
            exchange.sessions.open(name, "user-1", line) for name in ("innocent", "unlucky")
        )
        await say(innocent, 0, 5, real_time=True)
        if where == "drawing":
            exchange.models[LipSyncModel.TPSM].script = [RuntimeError("nobody foresaw this")]
        else:
            {"sending": line.unspeakable, "below": line.cancelled_below}[where].add("unlucky")
        await say(unlucky, 0, 3)
        await asyncio.sleep(0.05)
        await say(innocent, 5, 15, real_time=True)
        await innocent.end_turn()
        await asyncio.sleep(1.0)
        frames = [
            frame.sequence_number
            for frame in line.of(protocol.ResponseVideo)
            if frame.session_id == "innocent"
        ]
        assert frames == list(range(40))
        assert not line.hung_up
        assert line.told_to == ["unlucky"]
        assert (line.told[0].code, line.told[0].recoverable) == (
            LipSyncErrorCode.INTERNAL,
            False,
        )
        assert exchange.sessions.find("unlucky", "user-1") is None
        line.unspeakable.clear()
        line.cancelled_below.clear()
        again = exchange.sessions.open("unlucky", "user-1", line)  # its place and its id are free
        await say(again, 0, 5, real_time=True)
        assert len(exchange.sessions) == 2
        assert any(frame.session_id == "unlucky" for frame in line.of(protocol.ResponseVideo))

    Exchange().play(trouble)
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.getMessage() == "session unlucky failed"
    assert ("cancelled from below" if where == "below" else "nobody foresaw this") in caplog.text


def test_audio_for_a_session_whose_time_is_over_is_ignored_while_a_slow_client_still_reads_its_end() -> (
    None
):
    async def stall(exchange: Exchange) -> None:
        line = WatchedLine()
        live = exchange.sessions.open("s", "user-1", line)
        await say(live, 0, 30, real_time=True)
        line.taking.clear()
        await say(live, 30, 80, real_time=True)
        assert live.is_over
        assert exchange.sessions.on(line, "s") is live
        await say(live, 0, 5)  # begins the turn anew
        await live.end_turn()
        line.taking.set()
        await asyncio.sleep(1.0)
        assert line.cuts == [("s", "t")]
        (end,) = line.of(protocol.ResponseEnd)
        assert end.interrupted
        assert [error.code for error in line.told] == [LipSyncErrorCode.SESSION_LIMIT]
        assert len(line.of(protocol.ResponseStart)) == 1
        assert (len(exchange.sessions), exchange.sessions.on(line, "s")) == (0, None)

    Exchange(max_session_s=8.0).play(stall)


def test_the_turn_behind_the_one_that_is_cut_is_not_begun() -> None:
    async def cut(exchange: Exchange) -> None:
        line = WatchedLine()
        exchange.models[LipSyncModel.TPSM].frame_s = 0.05
        live = exchange.sessions.open("s", "user-1", line)
        await say(live, 0, 25, turn_id="a")
        await say(
            live, 0, 3, turn_id="b"
        )  # its first chunk says that the other turn is complete, and draws the rest of that
        await asyncio.sleep(20.0)
        assert [start.turn_id for start in line.of(protocol.ResponseStart)] == ["a"]
        assert [(end.turn_id, end.interrupted) for end in line.of(protocol.ResponseEnd)] == [
            ("a", True)
        ]
        assert [error.code for error in line.told] == [LipSyncErrorCode.SESSION_LIMIT]
        assert len(exchange.sessions) == 0

    Exchange(max_session_s=2.5).play(cut)


def test_a_session_that_ends_between_turns_cuts_none() -> None:
    async def silence(exchange: Exchange) -> None:
        line = WatchedLine()
        live = exchange.sessions.open("s", "user-1", line)
        await say(live, 0, 5, real_time=True)
        await live.end_turn()
        await asyncio.sleep(10.0)
        assert line.cuts == []
        assert len(exchange.sessions) == 0

    Exchange(max_session_s=8.0).play(silence)


def test_users_have_their_session_ids_to_themselves() -> None:
    async def two(exchange: Exchange) -> None:
        anns, bobs, back = WatchedLine(), WatchedLine(), WatchedLine()
        ann, bob = (
            exchange.sessions.open("s", "ann", anns),
            exchange.sessions.open("s", "bob", bobs),
        )
        await asyncio.gather(say(ann, 0, 10, real_time=True), say(bob, 0, 5, real_time=True))
        await lose(exchange, anns)
        assert exchange.sessions.find("s", "eve") is None
        assert exchange.sessions.find("s", "ann") is ann
        await exchange.sessions.resume(ann, back)
        assert (
            exchange.sessions.on(back, "s"),
            exchange.sessions.on(bobs, "s"),
            exchange.sessions.on(anns, "s"),
        ) == (ann, bob, None)
        exchange.sessions.end(ann)
        assert (
            exchange.sessions.find("s", "ann"),
            exchange.sessions.find("s", "bob"),
            len(exchange.sessions),
        ) == (None, bob, 1)

    Exchange().play(two)


def test_a_burst_of_short_packets_waits_as_long_as_any_other_audio() -> None:
    async def burst(exchange: Exchange) -> None:
        line = WatchedLine()
        live = exchange.sessions.open("s", "user-1", line)
        for number in range(2900):
            await live.receive(request(live, number, "t", 0.01))
        await live.end_turn()
        await asyncio.sleep(40.0)
        assert line.told == []
        assert line.numbers() == list(range(580))

    Exchange().play(burst)
