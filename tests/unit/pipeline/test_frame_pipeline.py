"""The one frame loop, as live sessions and recordings use it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from fakes import ScriptedAdapter, ScriptedInference, pcm_chunk, scripted_service
from virtual_time import run_virtual

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import LipSyncModel, VideoGenerationConfig
from orchestrator.pipeline.frame_pipeline import Batch
from orchestrator.pipeline.model_switch import Switch
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.turn import Turn

TPSM, STATIC = LipSyncModel.TPSM, LipSyncModel.STATIC


@dataclass
class Loop:
    """A turn of one second of audio, and its frame loop over scripted models."""

    tpsm: ScriptedAdapter = field(default_factory=lambda: ScriptedAdapter(TPSM, grey=200))
    static: ScriptedAdapter = field(default_factory=lambda: ScriptedAdapter(STATIC, ahead_frames=0))
    pacing_lead_s: float = float("inf")

    async def begin(self, seconds: float = 1.0, *, finished: bool = True) -> None:
        now = asyncio.get_running_loop().time()
        models = {adapter.model: adapter for adapter in (self.tpsm, self.static)}
        self.pipeline = scripted_service(models, ScriptedInference({"tpsm"}))
        self.session = Session("s", "user-1", inbox_ms=30_000.0, outbox_frames=60)
        await self.pipeline.faces.open_face(self.session, "face-1")
        config = VideoGenerationConfig()
        lead_s = self.pacing_lead_s
        self.turn = Turn("t", 1, config, 0.0, now, 0.0, pacing_lead_s=lead_s)
        self.turn.push(pcm_chunk(seconds), now)
        if finished:
            self.turn.finish(now)

    async def next(self, **wishes: object) -> Batch | None:
        return await self.pipeline.next_batch(self.session, self.turn, limit=8, **wishes)  # type: ignore[arg-type]

    async def all(self, **wishes: object) -> list[Batch]:
        batches = list[Batch]()
        while (batch := await self.next(**wishes)) is not None:
            batches.append(batch)
        return batches


def test_there_is_no_batch_before_a_frame_has_its_look_ahead() -> None:
    async def script() -> Batch | None:
        loop = Loop()
        await loop.begin(0.05, finished=False)
        return await loop.next()

    assert run_virtual(script()) is None


def test_an_unpaced_turn_gives_every_frame_at_once_in_batches_up_to_the_limit() -> None:
    async def script() -> tuple[list[Batch], float]:
        loop, began_s = Loop(), asyncio.get_running_loop().time()
        await loop.begin()
        return await loop.all(), asyncio.get_running_loop().time() - began_s

    batches, took_s = run_virtual(script())
    assert [len(batch.frames) for batch in batches] == [8, 8, 4]
    assert [batch.is_last for batch in batches] == [False, False, True]
    numbers = [frame.sequence_number for batch in batches for frame in batch.frames]
    assert numbers == list(range(20))
    assert took_s == 0.0


def test_a_paced_turn_gives_a_batch_when_its_last_frame_is_due() -> None:
    async def script() -> list[float]:
        loop, began_s = Loop(pacing_lead_s=0.0), asyncio.get_running_loop().time()
        await loop.begin()
        departures = []
        while (batch := await loop.next()) is not None:
            departures.append(asyncio.get_running_loop().time() - began_s)
            assert set(batch.departures_s) == {began_s + departures[-1]}
        return departures

    assert run_virtual(script()) == pytest.approx([7 / 20, 15 / 20, 19 / 20])


def test_where_a_model_fails_the_next_one_gives_the_same_frames_and_the_switch() -> None:
    async def script() -> list[Batch]:
        loop = Loop(tpsm=ScriptedAdapter(TPSM, script=[0.0, LipSyncErrorCode.TIMEOUT]))
        await loop.begin()
        return await loop.all()

    batches = run_virtual(script())
    assert [batch.switch for batch in batches] == [None, Switch(TPSM, STATIC, "TIMEOUT"), None]
    assert [frame.sequence_number for batch in batches for frame in batch.frames] == list(range(20))


def test_with_given_models_no_other_one_takes_over() -> None:
    async def script() -> None:
        loop = Loop(tpsm=ScriptedAdapter(TPSM, script=[LipSyncErrorCode.TIMEOUT]))
        await loop.begin()
        with pytest.raises(LipSyncError, match="every candidate failed"):
            await loop.next(models=[TPSM])
        assert loop.turn.next_frame == 0

    run_virtual(script())


def test_a_preference_that_is_not_served_is_notified_once_before_the_frames() -> None:
    async def script() -> list[Switch]:
        loop, notified = Loop(), list[Switch]()

        async def notify(switch: Switch) -> None:
            notified.append(switch)

        await loop.begin()
        loop.pipeline.prefer(loop.session, LipSyncModel.WAV2LIP)
        await loop.all(notify=notify)
        return notified

    (switch,) = run_virtual(script())
    assert (switch.before, switch.after) == (LipSyncModel.WAV2LIP, TPSM)


def test_frames_that_were_ready_while_the_client_was_away_are_skipped() -> None:
    async def script() -> tuple[Batch | None, int]:
        loop = Loop(pacing_lead_s=0.0)
        await loop.begin()
        began_s = asyncio.get_running_loop().time()
        loop.session.delivery.stale_before_s = began_s + 0.25
        return await loop.next(), loop.turn.next_frame

    batch, next_frame = run_virtual(script())
    assert batch == Batch()
    assert next_frame == 5
