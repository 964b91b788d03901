"""A session whose client or model is slow gives way in order, and comes back; a healthy one gives
nothing away.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from conversation import STATIC, TPSM, Conversation, play
from fakes import ScriptedAdapter
from moving_pictures import busy_picture

from orchestrator.core.types import VideoFormat, VideoGenerationConfig
from orchestrator.models.base import FeatureWindows, Frames, Infer, ModelState
from orchestrator.pipeline.session_events import Outgoing, OutgoingFrame

pytestmark = pytest.mark.slow

SLOW_BPS = {VideoFormat.JPEG: 800_000.0, VideoFormat.H264: 200_000.0}
"""A quarter of what the pictures take, and less than half."""

START_S = 1000.0
"""Of virtual time."""


class Painter(ScriptedAdapter):
    """Its pictures cost bits."""

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: Any, state: ModelState
    ) -> tuple[Frames, ModelState]:
        await super().generate(infer, windows, face, state)
        return np.stack([busy_picture(slot % 7, face.size) for slot in range(len(windows))]), state


@dataclass
class Linked(Conversation):
    """Its frames leave over a link of so many bits a second."""

    link_bps: float = 1e9
    looks: list[tuple[float, float, int, bool, int]] = field(default_factory=list)
    """Time, fill, target, reduced rate and frames left out, whenever a frame left."""

    async def leave(self, out: Outgoing) -> None:
        if isinstance(out, OutgoingFrame):
            await asyncio.sleep(8 * len(out.frame.data) / self.link_bps)
            self.session.delivery.stream.metrics.sent(len(out.frame.data), 0.0)
        await super().leave(out)
        session, dropped = self.session, self.service._video.counter.frames_dropped
        now = asyncio.get_running_loop().time()
        self.looks.append(
            (
                now,
                session.delivery.outbox.fill,
                session.delivery.stream.quality.bitrate.target_bps,
                session.delivery.stream.quality.frame_rate.reduced,
                dropped,
            )
        )

    def lateness_s(self) -> list[tuple[float, float]]:
        return [
            (when, when - out.ready_s) for when, out in self.sent if isinstance(out, OutgoingFrame)
        ]


def painted(**fields: Any) -> Linked:
    return Linked(
        tpsm=Painter(TPSM, frame_s=0.005), static=Painter(STATIC, ahead_frames=0), **fields
    )


async def half_a_minute(conversation: Conversation) -> None:
    await conversation.talk(300)
    await conversation.end()


def test_a_model_that_keeps_up_with_15_frames_only_draws_15_once_it_is_late() -> None:
    conversation = Conversation(tpsm=ScriptedAdapter(TPSM, grey=200, frame_s=0.06))
    conversation.session.models.preference = TPSM
    play(half_a_minute, conversation)
    frames = [
        (when - out.ready_s, out.frame.audio_timestamp_ms)
        for when, out in conversation.sent
        if isinstance(out, OutgoingFrame)
    ]
    steps = [later - earlier for (_, earlier), (_, later) in pairwise(frames)]
    assert steps[300:].count(100.0) == pytest.approx(len(steps[300:]) / 3, abs=2)
    assert set(steps) == {50.0, 100.0}
    assert max(late for late, _ in frames) < 2.5
    assert frames[-1][0] < 0.5


@pytest.mark.parametrize("video_format", list(VideoFormat))
def test_on_a_slow_link_the_bitrate_falls_first_and_frames_are_late_for_seconds_only(
    video_format: VideoFormat,
) -> None:
    conversation = painted(
        link_bps=SLOW_BPS[video_format], config=VideoGenerationConfig(format=video_format)
    )
    play(half_a_minute, conversation)
    cut = next(when for when, _, target_bps, _, _ in conversation.looks if target_bps < 500_000)
    reduced = [when for when, _, _, is_reduced, _ in conversation.looks if is_reduced]
    assert cut - START_S < 3.0
    assert not reduced or cut < reduced[0]
    assert max(late for _, late in conversation.lateness_s()) < 5.0
    assert max(late for when, late in conversation.lateness_s() if when > START_S + 12.0) < 2.0


def test_once_the_link_is_fast_again_the_bitrate_returns_without_a_report() -> None:
    conversation = painted(link_bps=300_000.0)

    async def script(conversation: Conversation) -> None:
        assert isinstance(conversation, Linked)
        await conversation.talk(100)
        conversation.link_bps = 1e9
        await conversation.talk(350)
        await conversation.end()

    play(script, conversation)
    sizes = [len(out.frame.data) for out in conversation.frames()]
    assert np.mean(sizes[-20:]) > 0.8 * sizes[0] / 2
    assert not conversation.session.delivery.stream.quality.frame_rate.reduced
    assert conversation.session.delivery.stream.quality.bitrate.target_bps > 1_500_000


@pytest.mark.parametrize("pushed", ["in real time", "at once", "after a pause"])
def test_a_healthy_session_gives_nothing_away(pushed: str) -> None:
    conversation = painted(link_bps=50_000_000.0)

    async def script(conversation: Conversation) -> None:
        await conversation.talk(100 if pushed == "in real time" else 1)
        await asyncio.sleep(5.0 if pushed == "after a pause" else 0.0)
        for _ in range(0 if pushed == "in real time" else 100):
            await conversation.say()
        await conversation.end()

    play(script, conversation)
    assert not conversation.session.delivery.stream.quality.bitrate.adapted
    assert conversation.service._video.counter.frames_dropped == 0
    assert not any(is_reduced for _, _, _, is_reduced, _ in conversation.looks)
