"""A model that is too slow for live sound gives way before any of it is lost; one that is fast
enough never does.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from conversation import STATIC, TPSM, Conversation, play
from fakes import ScriptedAdapter, ScriptedInference, pcm_chunk

from orchestrator.core.types import LipSyncModel, Resolution, VideoGenerationConfig
from orchestrator.models.base import FeatureWindows, Frames, Infer, ModelState
from orchestrator.pipeline.session_events import Failed, OutgoingFrame, Switched, TurnStarted
from orchestrator.sessions.service import LipSyncService
from orchestrator.sessions.worker import SessionWorker

pytestmark = pytest.mark.slow

WAV2LIP = LipSyncModel.WAV2LIP
TOO_SLOW_S = 0.12
"""For a frame of 50 ms."""


def slow(wished: LipSyncModel | None = TPSM, **fields: Any) -> Conversation:
    conversation = Conversation(tpsm=ScriptedAdapter(TPSM, grey=200, frame_s=TOO_SLOW_S), **fields)
    conversation.session.models.preference = wished
    return conversation


def switches(conversation: Conversation) -> list[tuple[LipSyncModel, LipSyncModel, str]]:
    return [(out.before, out.after, out.reason) for out in conversation.of(Switched)]


async def at_once(conversation: Conversation, seconds: int) -> None:
    for _ in range(10 * seconds):
        await conversation.say()


async def until_it_gives_way(conversation: Conversation) -> None:
    while not conversation.session.models.slow.models:
        await conversation.talk(1)


@pytest.mark.parametrize("wished", [TPSM, None])
def test_it_gives_way_before_sound_is_lost_and_comes_back(wished: LipSyncModel | None) -> None:
    conversation = slow(wished)

    async def more_than_a_minute(conversation: Conversation) -> None:
        await conversation.talk(700)
        await conversation.end()

    play(more_than_a_minute, conversation)
    assert not conversation.of(Failed)
    assert [out.frame.sequence_number for out in conversation.frames()] == list(range(1400))
    back = "REQUESTED" if wished else "RECOVERED"
    assert switches(conversation)[:3] == [
        (TPSM, STATIC, "TOO_SLOW"),
        (STATIC, TPSM, back),
        (TPSM, STATIC, "TOO_SLOW"),
    ]
    assert (
        max(when - out.ready_s for when, out in conversation.sent if isinstance(out, OutgoingFrame))
        < 17.0
    )


@pytest.mark.parametrize("ahead_s", [10, 20, 25])
def test_a_client_that_is_ahead_loses_none_either(ahead_s: int) -> None:
    conversation = slow()

    async def ahead(conversation: Conversation) -> None:
        await at_once(conversation, ahead_s)
        await conversation.talk(350)
        await conversation.end()

    play(ahead, conversation)
    assert not conversation.of(Failed)
    assert switches(conversation)[0] == (TPSM, STATIC, "TOO_SLOW")


def test_a_burst_is_drawn_by_the_model_that_was_asked_for_however_long_it_takes() -> None:
    conversation = slow()

    async def burst(conversation: Conversation) -> None:
        await at_once(conversation, 28)
        await conversation.end()

    play(burst, conversation)
    assert len(conversation.frames()) == 560
    assert not conversation.of(Switched)


def test_in_a_small_inbox_it_does_not_come_and_go_all_the_time() -> None:
    conversation = slow(inbox_ms=2000.0)

    async def a_minute(conversation: Conversation) -> None:
        await conversation.talk(600)
        await conversation.end()

    play(a_minute, conversation)
    assert not conversation.of(Failed)
    assert len(switches(conversation)) <= 12


class Sized(ScriptedAdapter):
    """Too slow for large pictures only."""

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: Any, state: ModelState
    ) -> tuple[Frames, ModelState]:
        self.frame_s = TOO_SLOW_S if face.size == 512 else 0.002
        return await super().generate(infer, windows, face, state)


@dataclass
class Beside(Conversation):
    """A conversation of a service that others use too."""

    shared: LipSyncService | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.shared is not None
        self.service = self.shared
        self.live = SessionWorker(self.session, self.service, pacing_lead_s=0.5)


def test_it_gives_way_in_the_session_that_it_is_too_slow_for_and_in_no_other() -> None:
    large = VideoGenerationConfig(resolution=Resolution(512, 512))
    conversation = Conversation(tpsm=Sized(TPSM, grey=200), config=large)
    others: list[Conversation] = []

    async def half_a_minute(conversation: Conversation) -> None:
        await conversation.talk(300)
        await conversation.end()

    async def beside_others(conversation: Conversation) -> None:
        others.extend(Beside(shared=conversation.service) for _ in range(4))
        await asyncio.gather(
            until_it_gives_way(conversation), *(other.run(half_a_minute) for other in others)
        )
        await conversation.end()

    play(beside_others, conversation)
    assert switches(conversation)[0] == (TPSM, STATIC, "TOO_SLOW")
    assert not any(other.of(Switched) for other in others)


@pytest.mark.parametrize("chunk_s", [0.1, 0.2, 0.4])
def test_half_of_real_time_is_fast_enough_however_long_the_chunks(chunk_s: float) -> None:
    other = ScriptedAdapter(WAV2LIP, grey=90, frame_s=0.01)
    tpsm = ScriptedAdapter(TPSM, grey=200, frame_s=0.025)
    conversation = Conversation(
        tpsm=tpsm, others=(other,), inference=ScriptedInference({"tpsm", "wav2lip"})
    )

    async def twenty_seconds(conversation: Conversation) -> None:
        for number in range(round(20 / chunk_s)):
            await asyncio.sleep(chunk_s)
            await conversation.say(
                pcm_chunk(
                    chunk_s, sequence_number=number, timestamp_ms=5000.0 + 1000.0 * chunk_s * number
                )
            )
        await conversation.end()

    play(twenty_seconds, conversation)
    assert not conversation.of(Switched)


def test_the_next_turn_asks_for_it_again_where_nothing_waits_any_more() -> None:
    conversation = slow()

    async def script(conversation: Conversation) -> None:
        await until_it_gives_way(conversation)
        await conversation.interrupt()
        await asyncio.sleep(1.0)
        await conversation.talk(5)
        await conversation.end()

    play(script, conversation)
    assert [out.model for out in conversation.of(TurnStarted)] == [TPSM, TPSM]


def test_a_wish_for_a_model_that_gave_way_is_told_why_it_is_not_served() -> None:
    conversation = slow(None)

    async def script(conversation: Conversation) -> None:
        await until_it_gives_way(conversation)
        await conversation.live.prefer(TPSM)
        await conversation.talk(5)
        await conversation.end()

    play(script, conversation)
    assert (TPSM, STATIC, "TOO_SLOW") in switches(conversation)
    assert {reason for _, _, reason in switches(conversation)} <= {
        "TOO_SLOW",
        "RECOVERED",
        "REQUESTED",
    }
