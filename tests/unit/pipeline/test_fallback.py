"""A chain of models that time out, fail, answer garbage and flap: no frame is missing, the order is
kept, and they come back.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import simplejpeg
from conversation import Conversation, play
from fakes import ScriptedAdapter, ScriptedInference

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import LipSyncModel, VideoFormat, VideoGenerationConfig
from orchestrator.inference import Tensors
from orchestrator.models.base import FeatureWindows, Frames, Infer, ModelState
from orchestrator.pipeline.circuit_breaker import LONGEST_PROBE_S
from orchestrator.pipeline.session_events import Failed, Switched

TPSM, WAV2LIP, SADTALKER, STATIC = (
    LipSyncModel.TPSM,
    LipSyncModel.WAV2LIP,
    LipSyncModel.SADTALKER,
    LipSyncModel.STATIC,
)
CHAIN = (TPSM, WAV2LIP, SADTALKER, STATIC)
TIMEOUT, LOST, GARBAGE = (
    LipSyncErrorCode.TIMEOUT,
    LipSyncErrorCode.MODEL_LOAD_FAILED,
    LipSyncErrorCode.VIDEO_GENERATION_FAILED,
)

SECONDS = 12
FRAMES = 20 * SECONDS


@dataclass
class FaultyAdapter(ScriptedAdapter):
    """Draws, but within `fault_s` of the session's media time each call does what `fault` says."""

    fault: float | LipSyncErrorCode | Exception | tuple[int, ...] = 0.0
    fault_s: tuple[float, float] = (0.0, 0.0)
    period_s: float | None = None
    """The fault comes back after this time, again and again."""
    asked_s: list[float] = field(default_factory=list)

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: object, state: ModelState
    ) -> tuple[Frames, ModelState]:
        now = float(windows.idle_s[0])
        self.asked_s.append(now)
        begin, end = self.fault_s
        phase = now if self.period_s is None else now % self.period_s
        self.script = [self.fault] if begin <= phase < end else []
        return await super().generate(infer, windows, face, state)


class DeafInference(ScriptedInference):
    """Has its models ready, but while it is down answers none of them."""

    is_down = False

    async def infer(self, model: str, inputs: Tensors, *, deadline: float) -> dict[str, Any]:
        if self.is_down:
            raise LipSyncError(LOST, f"{model} does not answer")
        return await super().infer(model, inputs, deadline=deadline)


def four_models(
    tpsm: FaultyAdapter,
    wav2lip: FaultyAdapter | None = None,
    sadtalker: FaultyAdapter | None = None,
) -> Conversation:
    others = (
        wav2lip or FaultyAdapter(WAV2LIP, grey=150),
        sadtalker or FaultyAdapter(SADTALKER, grey=100),
    )
    tpsm.spec = dataclasses.replace(
        tpsm.spec, quality=0.9
    )  # so much better than the others that it is worth a switch back
    return Conversation(
        tpsm=tpsm,
        static=ScriptedAdapter(STATIC, grey=50, ahead_frames=0),
        inference=ScriptedInference({"tpsm", "wav2lip", "sadtalker"}),
        others=others,
        config=VideoGenerationConfig(format=VideoFormat.JPEG, quality=95),
    )


async def speech(conversation: Conversation) -> None:
    await conversation.talk(10 * SECONDS)
    await conversation.end()


def nothing_is_missing(conversation: Conversation) -> None:
    frames = [out.frame for out in conversation.frames()]
    assert [frame.sequence_number for frame in frames] == list(range(FRAMES))
    assert [frame.audio_timestamp_ms for frame in frames] == pytest.approx(
        [5000.0 + 50.0 * number for number in range(FRAMES)]
    )
    assert conversation.of(Failed) == []


def switches(conversation: Conversation) -> list[tuple[LipSyncModel, LipSyncModel, str]]:
    return [(out.before, out.after, out.reason) for out in conversation.of(Switched)]


def drawn_by(conversation: Conversation) -> list[LipSyncModel]:
    return [out.frame.lip_sync_model for out in conversation.frames()]


FAULTS = {
    "times out": (9.0, "TIMEOUT"),
    "is gone": (LOST, "MODEL_LOAD_FAILED"),
    "has no GPU any more": (LipSyncErrorCode.GPU_UNAVAILABLE, "GPU_UNAVAILABLE"),
    "answers too few frames": ((1, 256, 256, 3), "VIDEO_GENERATION_FAILED"),
    "answers no colours": ((4, 256, 256), "VIDEO_GENERATION_FAILED"),
    "answers one colour": ((4, 256, 256, 1), "VIDEO_GENERATION_FAILED"),
    "answers small pictures": ((4, 96, 96, 3), "VIDEO_GENERATION_FAILED"),
    "answers nothing": ((0,), "VIDEO_GENERATION_FAILED"),
    "breaks on its network's shapes": (
        ValueError("cannot reshape array"),
        "VIDEO_GENERATION_FAILED",
    ),
    "misses an output": (KeyError("patch"), "VIDEO_GENERATION_FAILED"),
}


@pytest.mark.parametrize(("fault", "code"), FAULTS.values(), ids=FAULTS)
def test_a_model_that_fails_for_a_while_costs_no_frame_and_is_back_within_five_seconds(
    fault: float | LipSyncErrorCode | Exception | tuple[int, ...], code: str
) -> None:
    well_s = 4.0
    conversation = play(
        speech, four_models(FaultyAdapter(TPSM, grey=200, fault=fault, fault_s=(2.0, well_s)))
    )
    nothing_is_missing(conversation)
    assert switches(conversation)[0] == (TPSM, WAV2LIP, code)
    drawn = drawn_by(conversation)
    assert set(drawn) == {TPSM, WAV2LIP}, "the next of the chain is enough"
    first_failed = drawn.index(WAV2LIP)
    assert first_failed / 20.0 == pytest.approx(2.0, abs=0.2)
    back = len(drawn) - next(
        index for index, model in enumerate(reversed(drawn)) if model is not TPSM
    )
    assert well_s <= back / 20.0 <= well_s + 5.0


def test_the_chain_is_gone_through_in_its_order_and_the_face_speaks_to_its_end() -> None:
    conversation = play(
        speech,
        four_models(
            FaultyAdapter(TPSM, fault=9.0, fault_s=(1.0, 99.0)),
            FaultyAdapter(WAV2LIP, fault=LOST, fault_s=(2.0, 99.0)),
            FaultyAdapter(SADTALKER, fault=(1, 2), fault_s=(3.0, 99.0)),
        ),
    )
    nothing_is_missing(conversation)
    seen = list(dict.fromkeys(drawn_by(conversation)))
    assert seen == list(CHAIN)
    assert [(before, after) for before, after, _ in switches(conversation)[:1]] == [(TPSM, WAV2LIP)]


def test_when_all_fail_in_the_same_batch_the_last_resort_draws_it() -> None:
    adapters = [FaultyAdapter(model, fault=LOST, fault_s=(1.0, 2.0)) for model in CHAIN[:3]]
    conversation = play(speech, four_models(*adapters))
    nothing_is_missing(conversation)
    assert switches(conversation)[0] == (TPSM, STATIC, "MODEL_LOAD_FAILED")
    assert [
        model for model in adapters if abs(model.asked_s[0] - 1.0) > 0.2 and model.model is not TPSM
    ] == []
    assert drawn_by(conversation)[-1] is TPSM


def test_a_preference_for_a_model_that_is_away_is_served_by_the_next_best_and_said_so() -> None:
    conversation = four_models(FaultyAdapter(TPSM))
    conversation.inference.ready_models -= {"sadtalker"}
    conversation.session.models.preference = SADTALKER
    play(speech, conversation)
    nothing_is_missing(conversation)
    assert switches(conversation) == [(SADTALKER, TPSM, "NOT_READY")]


def test_a_flapping_model_stays_away_longer_each_time_and_comes_back_for_good() -> None:
    conversation = four_models(FaultyAdapter(TPSM, fault=LOST, fault_s=(0.0, 0.1), period_s=0.2))
    conversation.inference.ready_models -= {"wav2lip", "sadtalker"}
    play(speech, conversation)
    nothing_is_missing(conversation)
    left_s = [
        left_s
        for left_s, out in conversation.sent
        if isinstance(out, Switched) and out.after is STATIC
    ]
    waits_s = np.diff(left_s)
    assert 3 <= len(left_s) <= 7, "not once for each of its sixty faults"
    assert list(waits_s) == sorted(waits_s)
    assert all(
        away.after is STATIC and back.reason == "RECOVERED"
        for away, back in pairwise(conversation.of(Switched)[:6])
        if away.before is TPSM
    )


@pytest.mark.parametrize(
    "fault", [9.0, LOST, (1, 256, 256, 3)], ids=["times out", "is gone", "answers garbage"]
)
def test_pictures_grow_out_of_one_another_over_a_switch(
    fault: float | LipSyncErrorCode | tuple[int, ...],
) -> None:
    conversation = play(
        speech, four_models(FaultyAdapter(TPSM, grey=200, fault=fault, fault_s=(2.0, 4.0)))
    )
    greys = [float(np.mean(picture(out.frame.data))) for out in conversation.frames()]
    steps = np.abs(np.diff(greys))
    assert max(greys) - min(greys) == pytest.approx(50.0, abs=2.0)
    assert steps.max() < 50.0 * 0.3, "a quarter of the way from picture to picture, not a jump"


def test_the_circuit_opens_at_the_fault_and_closes_at_the_first_probe_that_is_answered() -> None:
    conversation, changes_s = (
        four_models(FaultyAdapter(TPSM, fault=LOST, fault_s=(1.8, 4.0))),
        list[tuple[float, bool]](),
    )
    inference = DeafInference({"tpsm", "wav2lip", "sadtalker"})

    async def watch(began_s: float) -> None:
        closed, tracker = True, conversation.service.performance
        while True:
            if tracker.is_closed(TPSM) is not closed:
                closed = not closed
                changes_s.append((asyncio.get_running_loop().time() - began_s, closed))
                assert tracker.opened_by(TPSM) is (None if closed else LOST)
            await asyncio.sleep(0.01)

    async def down_for_two_seconds(conversation: Conversation) -> None:
        watching = asyncio.create_task(watch(asyncio.get_running_loop().time()))
        await conversation.talk(20)
        inference.is_down = True
        await conversation.talk(20)
        inference.is_down = False
        await conversation.talk(10 * SECONDS - 40)
        await conversation.end()
        watching.cancel()
        await asyncio.wait([watching])

    conversation.inference = inference
    conversation.__post_init__()
    play(down_for_two_seconds, conversation)
    nothing_is_missing(conversation)
    (opened_s, is_open), (closed_s, is_closed) = changes_s
    assert (is_open, is_closed) == (False, True)
    assert opened_s == pytest.approx(2.1, abs=0.2)
    assert 4.0 <= closed_s < 4.0 + LONGEST_PROBE_S + 0.2


def picture(data: bytes) -> np.ndarray:
    return np.asarray(simplejpeg.decode_jpeg(data, "RGB"))
