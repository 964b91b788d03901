"""One session's work: frames in order and on time, fallback and back, interruption, overflow, bad
audio.
"""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from conversation import Conversation, play, two_seconds
from fakes import ScriptedAdapter, ScriptedInference, pcm_chunk, scripted_service
from virtual_time import run_virtual

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.core.types import AudioChunk, AudioFormat, LipSyncModel, VideoGenerationConfig
from orchestrator.pipeline.session_events import (
    Failed,
    InboxItem,
    OutgoingFrame,
    Switched,
    TurnEnded,
    TurnStarted,
)
from orchestrator.pipeline.session_state import Session, merged_config
from orchestrator.sessions.turn_tracker import TurnCounter
from orchestrator.sessions.worker import SessionWorker

TPSM, STATIC = LipSyncModel.TPSM, LipSyncModel.STATIC


@pytest.mark.parametrize("fps", [15, 20, 24, 25])
def test_a_turn_has_a_frame_for_every_slot_of_its_audio(fps: float) -> None:
    conversation = play(
        two_seconds, Conversation(config=merged_config(VideoGenerationConfig(), target_fps=fps))
    )
    frames = [out.frame for out in conversation.frames()]
    assert [frame.sequence_number for frame in frames] == list(range(2 * int(fps)))
    assert [frame.audio_timestamp_ms for frame in frames] == pytest.approx(
        [5000.0 + index * 1000.0 / fps for index in range(len(frames))]
    )
    assert all(abs(frame.timestamp_ms - frame.audio_timestamp_ms) < 50.0 for frame in frames)


def test_a_turn_starts_ends_and_says_how_it_went() -> None:
    conversation = play(two_seconds)
    (started,), (ended,) = conversation.of(TurnStarted), conversation.of(TurnEnded)
    assert started.model is TPSM
    assert started.turn is ended.turn
    assert not ended.interrupted
    assert isinstance(conversation.sent[0][1], TurnStarted)
    assert isinstance(conversation.sent[-1][1], TurnEnded)


def test_a_frame_leaves_as_soon_as_its_look_ahead_is_there() -> None:
    conversation = play(two_seconds)
    for left_s, out in conversation.sent:
        if isinstance(out, OutgoingFrame):
            assert left_s - out.ready_s < 0.001


def test_windows_are_centred_on_the_frames() -> None:
    conversation = play(two_seconds)
    times_s = [time for windows in conversation.tpsm.windows_seen for time in windows.idle_s]
    assert times_s == pytest.approx([(index + 0.5) / 20.0 for index in range(40)])
    phases = [phase for windows in conversation.tpsm.windows_seen for phase in windows.phase]
    assert phases == pytest.approx([0.5] * 40, abs=1e-4)


def test_a_model_that_times_out_costs_no_frame_and_comes_back() -> None:
    conversation = Conversation()
    conversation.tpsm.script = [0.0, 0.0, 9.0]
    play(two_seconds, conversation)
    assert [out.frame.sequence_number for out in conversation.frames()] == list(range(40))
    assert [(out.before, out.after, out.reason) for out in conversation.of(Switched)] == [
        (TPSM, STATIC, "TIMEOUT"),
        (STATIC, TPSM, "RECOVERED"),
    ]
    used = [out.frame.lip_sync_model for out in conversation.frames()]
    assert used.index(STATIC) > 0
    assert used[-1] is TPSM


def test_the_switch_is_told_before_the_first_frame_of_the_other_model() -> None:
    conversation = Conversation()
    conversation.tpsm.script = [0.0, 0.0, LipSyncErrorCode.MODEL_LOAD_FAILED]
    play(two_seconds, conversation)
    kinds = [out for _, out in conversation.sent]
    position = next(index for index, out in enumerate(kinds) if isinstance(out, Switched))
    before, after = kinds[position - 1], kinds[position + 1]
    assert isinstance(before, OutgoingFrame)
    assert before.frame.lip_sync_model is TPSM
    assert isinstance(after, OutgoingFrame)
    assert after.frame.lip_sync_model is STATIC


def test_a_model_that_is_down_from_the_start_leaves_the_last_resort() -> None:
    conversation = play(two_seconds, Conversation(inference=ScriptedInference()))
    assert conversation.of(TurnStarted)[0].model is STATIC
    assert {out.frame.lip_sync_model for out in conversation.frames()} == {STATIC}
    assert len(conversation.frames()) == 40


def test_the_last_resort_has_no_deadline() -> None:
    conversation = Conversation(inference=ScriptedInference())
    conversation.static.script = [9.0]
    play(two_seconds, conversation)
    assert conversation.of(Failed) == []
    assert len(conversation.frames()) == 40


def test_a_failure_of_one_sessions_own_face_leaves_the_circuit_closed() -> None:
    conversation = Conversation()
    conversation.tpsm.script = [LipSyncErrorCode.VIDEO_GENERATION_FAILED]
    play(two_seconds, conversation)
    assert conversation.service.performance.is_closed(TPSM)
    assert conversation.frames()[0].frame.lip_sync_model is STATIC


def test_a_burst_is_paced_and_nothing_is_dropped() -> None:
    async def burst(conversation: Conversation) -> None:
        for _ in range(50):
            await conversation.say()
        await conversation.end()

    conversation = play(burst)
    left = [(left_s, out) for left_s, out in conversation.sent if isinstance(out, OutgoingFrame)]
    assert len(left) == 100
    start_s = left[0][0]
    for left_s, out in left:
        due_s = start_s + out.frame.sequence_number / 20.0
        assert due_s - 0.5 - 4 / 20.0 <= left_s <= due_s + 1e-6


@pytest.mark.parametrize("fps", [15.0, 20.0, 25.0])
def test_frames_of_a_burst_that_leave_as_they_are_paced_are_not_late(fps: float) -> None:
    async def burst(conversation: Conversation) -> None:
        for _ in range(30):
            await conversation.say()
        await conversation.end()

    conversation = play(burst, Conversation(config=VideoGenerationConfig(target_fps=fps)))
    frames = [(when, out) for when, out in conversation.sent if isinstance(out, OutgoingFrame)]
    assert len(frames) == 3 * fps
    assert max(when - out.ready_s for when, out in frames) < 0.02
    assert (
        min(
            out.turn.clock.started_s + number / fps - when
            for number, (when, out) in enumerate(frames)
            if number >= fps
        )
        > 0.25
    )


def test_interruption_stops_the_turn_at_once_and_the_next_turn_speaks() -> None:
    interrupted_at: list[float] = []

    async def interrupted(conversation: Conversation) -> None:
        for _ in range(30):
            await conversation.say(turn_id="turn-a")
        await asyncio.sleep(1.0)
        await conversation.interrupt()
        interrupted_at.append(asyncio.get_running_loop().time())
        await conversation.say(turn_id="turn-a")
        await conversation.say(pcm_chunk(1.0), turn_id="turn-b")
        await conversation.end()

    conversation = play(interrupted)
    late = [
        left_s
        for left_s, out in conversation.sent
        if isinstance(out, OutgoingFrame) and out.turn.id == "turn-a" and left_s > interrupted_at[0]
    ]
    assert late == []
    assert [(out.turn.id, out.interrupted) for out in conversation.of(TurnEnded)] == [
        ("turn-a", True),
        ("turn-b", False),
    ]
    second = [out.frame.sequence_number for out in conversation.frames() if out.turn.id == "turn-b"]
    assert second == list(range(20))


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupted_turn_that_begins_anew_under_its_own_id_is_heard_whole(times: int) -> None:
    async def restarted(conversation: Conversation) -> None:
        for _ in range(times):
            conversation.sequence_number = 0
            for _ in range(5):
                await conversation.say(turn_id="turn-a")
            await asyncio.sleep(0.1)
            await conversation.interrupt()
            await conversation.say(turn_id="turn-a")
        conversation.sequence_number = 0
        for _ in range(10):
            await conversation.say(turn_id="turn-a")
        await conversation.end()

    conversation = play(restarted)
    ends = conversation.of(TurnEnded)
    assert [out.interrupted for out in ends] == [True] * times + [False]
    anew = [out.frame.sequence_number for out in conversation.frames() if out.turn is ends[-1].turn]
    assert anew == list(range(20))


def test_interruption_cancels_a_model_that_is_working() -> None:
    conversation = Conversation()
    conversation.tpsm.script = [0.25]

    async def interrupted(conversation: Conversation) -> None:
        await conversation.talk(2)
        await conversation.interrupt()
        await asyncio.sleep(1.0)

    play(interrupted, conversation)
    assert conversation.frames() == []
    assert conversation.of(Failed) == []
    assert conversation.service.performance.is_closed(TPSM)


def test_an_interruption_that_names_a_waiting_turn_leaves_the_spoken_one_alone() -> None:
    async def named(conversation: Conversation) -> None:
        for turn in ("turn-a", "turn-b", "turn-c"):
            for _ in range(10):
                await conversation.say(turn_id=turn)
            await conversation.end()
        await asyncio.sleep(0.2)
        await conversation.interrupt("turn-b")

    conversation = play(named)
    assert [(out.turn.id, out.interrupted) for out in conversation.of(TurnEnded)] == [
        ("turn-a", False),
        ("turn-c", False),
    ]
    assert len(conversation.frames()) == 40


def test_an_interruption_that_names_a_turn_that_is_over_does_nothing() -> None:
    async def named(conversation: Conversation) -> None:
        await conversation.say(pcm_chunk(0.5), turn_id="turn-a")
        await conversation.end()
        await asyncio.sleep(2.0)
        await conversation.say(pcm_chunk(1.0), turn_id="turn-b")
        await asyncio.sleep(0.1)
        await conversation.interrupt("turn-a")
        await conversation.interrupt("turn-x")
        await conversation.end()

    conversation = play(named)
    assert [(out.turn.id, out.interrupted) for out in conversation.of(TurnEnded)] == [
        ("turn-a", False),
        ("turn-b", False),
    ]
    assert len(conversation.frames()) == 30


async def caught_between_two_turns(conversation: Conversation) -> None:
    """A turn that nobody ended has its tail drawn by the first chunk of the next one, which was
    taken and waits for that.
    """
    for turn in ("turn-a", "turn-b"):
        for _ in range(20):
            await conversation.say(turn_id=turn)
    await conversation.end()
    while len(conversation.session.audio.inbox) > 20:  # noqa: ASYNC110 - virtual time
        await asyncio.sleep(0.01)


def test_a_turn_given_up_while_the_next_one_waits_for_its_tail_costs_that_one_nothing() -> None:
    async def first_given_up(conversation: Conversation) -> None:
        await caught_between_two_turns(conversation)
        await conversation.interrupt("turn-a")

    conversation = play(first_given_up)
    assert [(out.turn.id, out.interrupted) for out in conversation.of(TurnEnded)] == [
        ("turn-a", True),
        ("turn-b", False),
    ]
    spoken = [out.turn.id for out in conversation.frames()]
    assert 30 < spoken.count("turn-a") < 40
    assert spoken.count("turn-b") == 40


def test_a_turn_given_up_while_it_waits_for_the_tail_of_another_costs_that_one_nothing() -> None:
    async def second_given_up(conversation: Conversation) -> None:
        await caught_between_two_turns(conversation)
        await conversation.interrupt("turn-b")

    conversation = play(second_given_up)
    assert [out.turn.id for out in conversation.of(TurnStarted)] == ["turn-a"]
    assert [(out.turn.id, out.interrupted) for out in conversation.of(TurnEnded)] == [
        ("turn-a", False)
    ]
    assert len(conversation.frames()) == 40


def test_interruption_of_nothing_says_nothing() -> None:
    async def nothing(conversation: Conversation) -> None:
        await conversation.interrupt()

    assert play(nothing).sent == []


def test_a_new_turn_id_ends_the_turn_before() -> None:
    async def two_turns(conversation: Conversation) -> None:
        await conversation.say(pcm_chunk(0.5), turn_id="a")
        await conversation.say(pcm_chunk(0.5), turn_id="b")
        await conversation.end()

    conversation = play(two_turns)
    counts = {
        turn: sum(out.turn.id == turn for out in conversation.frames()) for turn in ("a", "b")
    }
    assert counts == {"a": 10, "b": 10}


def test_idle_motion_goes_on_across_turns() -> None:
    async def two_turns(conversation: Conversation) -> None:
        for _ in range(2):
            await conversation.talk(10)
            await conversation.end()
            await asyncio.sleep(1.0)

    times_s = [time for windows in play(two_turns).tpsm.windows_seen for time in windows.idle_s]
    assert times_s == pytest.approx([(index + 0.5) / 20.0 for index in range(40)])


def test_full_inbox_turns_the_oldest_audio_into_silence_and_reports_once() -> None:
    async def flood(conversation: Conversation) -> None:
        for _ in range(40):
            await conversation.say()
        await conversation.end()

    conversation = play(flood, Conversation(inbox_ms=2000.0))
    (overflow,) = conversation.of(Failed)
    assert overflow.error.code is LipSyncErrorCode.BUFFER_OVERFLOW
    assert [out.frame.sequence_number for out in conversation.frames()] == list(range(80))


@pytest.mark.slow
def test_more_may_be_lost_than_a_turn_holds_at_once() -> None:
    async def flood(conversation: Conversation) -> None:
        for _ in range(1250):
            await conversation.say()
        await conversation.end()

    conversation = play(flood, Conversation(inbox_ms=2000.0))
    assert [out.frame.sequence_number for out in conversation.frames()] == list(range(2500))


def test_chunks_that_claim_to_last_no_time_do_not_fill_the_memory() -> None:
    async def stuffed(conversation: Conversation) -> None:
        junk = AudioChunk(b"RIFF" + bytes(4_000_000), 0.0, 0, 16_000, 1000, AudioFormat.WAV)
        for _ in range(20):
            await conversation.say(junk)
        assert (
            sum(
                len(item.chunk.data)
                for item in conversation.session.audio.inbox.items()
                if item.chunk
            )
            < 25_000_000
        )
        await conversation.interrupt()

    play(stuffed)


@pytest.mark.parametrize("before", [0, 5])
def test_audio_that_cannot_be_decoded_is_told_and_keeps_its_time(before: int) -> None:
    cut = AudioChunk(bytes(3199), 5000.0, before, 16_000, 1, AudioFormat.PCM)

    async def stumble(conversation: Conversation) -> None:
        await conversation.talk(before)
        for _ in range(4):
            await asyncio.sleep(0.1)
            await conversation.say(cut)
        await conversation.talk(16 - before)
        await conversation.end()

    conversation = play(stumble)
    told = [out.error for out in conversation.of(Failed)]
    assert [
        (error.details["field"], error.recoverable, round(error.details["lostMs"]))
        for error in told
    ] == [("audioChunk.data", True, 100)] * 4
    assert [out.frame.audio_timestamp_ms for out in conversation.frames()] == [
        5000.0 + 50.0 * number for number in range(40)
    ]
    centres = [
        row[-1 - conversation.tpsm.ahead_frames]
        for windows in conversation.tpsm.windows_seen
        for row in windows.rows
    ]
    assert [number for number, mel in enumerate(centres) if mel.max() < -8.0] == list(
        range(2 * before, 2 * before + 8)
    )


def test_an_unknown_face_ends_the_session_with_its_name() -> None:
    async def stranger(conversation: Conversation) -> None:
        await conversation.say(face="nobody")

    conversation = play(stranger)
    (failed,) = conversation.of(Failed)
    assert failed.error.code is LipSyncErrorCode.FACE_MODEL_NOT_FOUND
    assert not failed.error.recoverable


def test_an_unknown_face_in_mid_turn_is_told_once_and_the_old_one_goes_on_speaking() -> None:
    async def stranger(conversation: Conversation) -> None:
        for _ in range(2):
            for number in range(20):
                await asyncio.sleep(0.1)
                await conversation.say(face="nobody" if 8 <= number < 12 else "face-1")
            await conversation.end()

    conversation = play(stranger)
    told = [out.error for out in conversation.of(Failed)]
    assert [(error.code, error.recoverable) for error in told] == [
        (LipSyncErrorCode.FACE_MODEL_NOT_FOUND, True)
    ] * 2, "once in each turn"
    assert len(conversation.frames()) == 80
    assert conversation.session.face.current is not None
    assert conversation.session.face.current.id == "face-1"


def test_a_preference_switches_the_model_and_says_so() -> None:
    async def prefer_static(conversation: Conversation) -> None:
        await conversation.talk(5)
        conversation.session.models.preference = STATIC
        await conversation.talk(5)
        await conversation.end()

    conversation = play(prefer_static)
    assert [(out.before, out.after, out.reason) for out in conversation.of(Switched)] == [
        (TPSM, STATIC, "REQUESTED")
    ]


def test_a_face_at_rest_by_request_does_not_recover_but_changes_its_model() -> None:
    async def prefer_static_then_one_that_is_away(conversation: Conversation) -> None:
        conversation.session.models.preference = STATIC
        await conversation.talk(5)
        conversation.session.models.preference = LipSyncModel.WAV2LIP
        await conversation.talk(5)
        await conversation.end()

    conversation = play(prefer_static_then_one_that_is_away)
    assert [(out.before, out.after, out.reason) for out in conversation.of(Switched)] == [
        (LipSyncModel.WAV2LIP, TPSM, "FACE_MODEL_INCOMPATIBLE"),
        (STATIC, TPSM, "BEST_QUALITY"),
    ]


def test_two_turns_of_the_same_id_are_two_turns() -> None:
    async def same_id(conversation: Conversation) -> None:
        for _ in range(2):
            await conversation.say(pcm_chunk(0.5), turn_id="turn-001")
            await conversation.end()

    conversation = play(same_id)
    assert len(conversation.of(TurnStarted)) == len(conversation.of(TurnEnded)) == 2
    assert len(conversation.frames()) == 20


def test_sessions_that_say_the_same_share_their_frames_from_the_third_on() -> None:
    inference = ScriptedInference({"tpsm"})
    tpsm = ScriptedAdapter(TPSM, grey=200)
    tpsm.spec = dataclasses.replace(tpsm.spec, stateless=True)
    service = scripted_service(
        {TPSM: tpsm, STATIC: ScriptedAdapter(STATIC, grey=50, ahead_frames=0)}, inference
    )

    async def script() -> list[int]:
        drawn = []
        for level in (0.3, 0.3, 0.3, 0.2):
            session = Session(
                f"session-{len(drawn)}", "user-1", inbox_ms=30_000.0, outbox_frames=60
            )
            live, turns = SessionWorker(session, service, pacing_lead_s=0.5), TurnCounter()
            before = len(tpsm.windows_seen)
            working = asyncio.create_task(live.work())
            for number in range(10):
                turns.chunk(None, number)
                chunk = pcm_chunk(sequence_number=number, timestamp_ms=100.0 * number, level=level)
                now = asyncio.get_running_loop().time()
                await live.accept(
                    InboxItem(
                        turns.ordinal,
                        turns.turn_id,
                        VideoGenerationConfig(),
                        "face-1",
                        chunk,
                        now,
                        100.0,
                    )
                )
                await asyncio.sleep(0.1)
            await session.audio.inbox.close()
            await working
            assert (
                sum(isinstance(out, OutgoingFrame) for out in session.delivery.outbox.items()) >= 15
            )
            drawn.append(len(tpsm.windows_seen) - before)
        return drawn

    drawn = run_virtual(script())
    assert drawn[0] > 0
    assert drawn == [drawn[0], drawn[0], 0, drawn[0]]


def test_a_model_slower_than_real_time_draws_every_second_frame_where_the_client_allows_it() -> (
    None
):
    conversation = Conversation(config=VideoGenerationConfig(enable_interpolation=True))
    conversation.tpsm.script = [0.25] * 50
    play(two_seconds, conversation)
    frames = [out.frame for out in conversation.frames()]
    assert [frame.sequence_number for frame in frames] == list(range(40))
    assert [frame.audio_timestamp_ms for frame in frames] == [
        5000.0 + 50.0 * number for number in range(40)
    ]
    assert 8 <= sum(frame.is_interpolated for frame in frames) < 20
    drawn = sum(len(windows) for windows in conversation.tpsm.windows_seen)
    assert drawn == sum(not frame.is_interpolated for frame in frames)
