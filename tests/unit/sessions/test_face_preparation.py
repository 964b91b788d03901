"""A session speaks with the next model while networks see its face for another one, and switches
when that is prepared.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import face_packages as made
import pytest
from encoded_faces import EYE, CountingInference, LookingAdapter, eye_repository
from fakes import ScriptedAdapter, pcm_chunk
from virtual_time import run_virtual

from orchestrator.core.channel import ChannelClosedError
from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import LipSyncModel, VideoGenerationConfig
from orchestrator.faces.preparation.background import AT_ONCE, MOST, RETRY_S, FacePreparations
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.pipeline.frame_pipeline import FramePipeline
from orchestrator.pipeline.model_selector import SPARE_FACE_S
from orchestrator.pipeline.session_events import (
    InboxItem,
    Outgoing,
    OutgoingFrame,
    Switched,
    TurnEnded,
    TurnStarted,
)
from orchestrator.pipeline.session_state import Session
from orchestrator.sessions.worker import SessionWorker
from orchestrator.video.generator import VideoGeneratorService
from orchestrator.video.streamer import VideoStreamingService

SADTALKER, TPSM, STATIC = LipSyncModel.SADTALKER, LipSyncModel.TPSM, LipSyncModel.STATIC


class Stage:
    """The real service over faces on disk and one real network; its pictures are scripted."""

    def __init__(
        self, folder: Path, *, takes_s: float = 0.0, most_bytes: int = 10**6, **config: Any
    ) -> None:
        self.metrics = Metrics()
        self.store = LocalFaceStore(folder / "faces")
        self.faces = FaceModelCacheService(self.store, max_derived_bytes=most_bytes)
        self.inference = CountingInference(
            eye_repository(folder / "repository"), also_ready=("tpsm",)
        )
        self.sadtalker = LookingAdapter(takes_s=takes_s, grey=90)
        self.tpsm = ScriptedAdapter(TPSM, grey=200)
        adapters = {
            SADTALKER: self.sadtalker,
            TPSM: self.tpsm,
            STATIC: ScriptedAdapter(STATIC, ahead_frames=0),
        }
        video = VideoGeneratorService(self.inference)
        self.service = FramePipeline(
            ServiceConfig(**config),
            adapters,
            self.faces,
            video,
            VideoStreamingService(),
            self.metrics,
        )
        self.sent: list[tuple[float, Outgoing]] = []

    async def converse(
        self, *turns_s: float, preference: LipSyncModel | None = SADTALKER, user: str = "ann"
    ) -> list[Outgoing]:
        """Turns of speech in real time, by one session; what it sent."""
        session = Session(f"session of {user}", user, inbox_ms=30_000.0, outbox_frames=60)
        session.models.preference = preference
        live, sent = SessionWorker(session, self.service, pacing_lead_s=0.5), list[Outgoing]()
        tasks = [asyncio.create_task(live.work()), asyncio.create_task(self._send(session, sent))]
        for ordinal, seconds in enumerate(turns_s, start=1):
            for number in range(round(10 * seconds)):
                await asyncio.sleep(0.1)
                await live.accept(_item(ordinal, number))
            await live.accept(_item(ordinal, None))
        await session.audio.inbox.close()
        await asyncio.gather(*tasks)
        return sent

    async def _send(self, session: Session, sent: list[Outgoing]) -> None:
        while True:
            try:
                sent.append(await session.delivery.outbox.get())
            except ChannelClosedError:
                return
            self.sent.append((asyncio.get_running_loop().time(), sent[-1]))

    def count(self, result: str) -> float:
        return self.metrics.face_preparations_total.labels("sadtalker", result)._value.get()


def _item(ordinal: int, number: int | None) -> InboxItem:
    chunk = (
        None if number is None else pcm_chunk(sequence_number=number, timestamp_ms=100.0 * number)
    )
    now = asyncio.get_running_loop().time()
    return InboxItem(
        ordinal,
        f"turn-{ordinal}",
        VideoGenerationConfig(),
        "f",
        chunk,
        now,
        0.0 if chunk is None else 100.0,
    )


def play(stage: Stage, script: Callable[[Stage], Awaitable[None]]) -> None:
    async def run() -> None:
        if not await stage.store.blobs("face-models/ann/f"):
            await made.put(stage.store, "ann", "f", made.package())
        probes = asyncio.create_task(stage.service.probe_failed_models())
        async with stage.inference:
            await script(stage)
        await stage.service.close()
        probes.cancel()
        await asyncio.wait([probes])

    run_virtual(run())


def frames_of(sent: list[Outgoing]) -> list[LipSyncModel]:
    return [out.frame.lip_sync_model for out in sent if isinstance(out, OutgoingFrame)]


def switches_of(sent: list[Outgoing]) -> list[tuple[LipSyncModel, LipSyncModel, str]]:
    return [(out.before, out.after, out.reason) for out in sent if isinstance(out, Switched)]


def test_a_session_speaks_at_once_and_switches_in_mid_turn_when_the_face_is_prepared(
    tmp_path: Path,
) -> None:
    async def script(stage: Stage) -> None:
        sent = await stage.converse(5.0)
        models = frames_of(sent)
        assert len(models) == 100
        assert next(out for out in sent if isinstance(out, TurnStarted)).model is TPSM
        assert switches_of(sent) == [
            (SADTALKER, TPSM, "FACE_NOT_PREPARED"),
            (TPSM, SADTALKER, "FACE_PREPARED"),
        ]
        assert 50 <= models.index(SADTALKER) <= 65
        assert models[-1] is SADTALKER
        assert (stage.inference.asked[EYE], stage.count("prepared")) == (1, 1)

    play(Stage(tmp_path, takes_s=3.0), script)


def test_no_frame_waits_for_the_preparation(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        await stage.converse(2.0)
        late = [
            left_s - out.ready_s for left_s, out in stage.sent if isinstance(out, OutgoingFrame)
        ]
        assert max(late[8:]) < 0.001
        assert max(late) < 0.26

    play(Stage(tmp_path, takes_s=30.0), script)


def test_a_face_whose_encoding_is_stored_speaks_with_its_model_from_the_first_frame(
    tmp_path: Path,
) -> None:
    async def first(stage: Stage) -> None:
        await stage.converse(1.0)
        await stage.service._preparations.wait(
            await stage.faces.load_face_model("ann", "f"), [SADTALKER], 60.0
        )

    async def second(stage: Stage) -> None:
        sent = await stage.converse(1.0)
        assert set(frames_of(sent)) == {SADTALKER}
        assert switches_of(sent) == []
        assert stage.inference.asked[EYE] == 0

    play(Stage(tmp_path, takes_s=3.0), first)
    play(Stage(tmp_path, takes_s=3.0), second)


def test_a_preparation_that_began_in_one_session_serves_the_next(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        assert set(frames_of(await stage.converse(1.0))) == {TPSM}
        await asyncio.sleep(5.0)
        assert set(frames_of(await stage.converse(1.0))) == {SADTALKER}
        assert stage.inference.asked[EYE] == 1

    play(Stage(tmp_path, takes_s=3.0), script)


def test_sessions_of_one_face_share_its_preparation(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        for sent in await asyncio.gather(*(stage.converse(3.0) for _ in range(4))):
            assert switches_of(sent) == [
                (SADTALKER, TPSM, "FACE_NOT_PREPARED"),
                (TPSM, SADTALKER, "FACE_PREPARED"),
            ]
        assert stage.inference.asked[EYE] == 1

    play(Stage(tmp_path, takes_s=1.0), script)


def test_a_preparation_that_fails_costs_no_frame_is_told_once_and_tried_again_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(stage: Stage) -> None:
        stage.sadtalker.error = LipSyncError(
            LipSyncErrorCode.VIDEO_GENERATION_FAILED, "the network stumbled"
        )
        with caplog.at_level(logging.WARNING):
            sent = await stage.converse(5.0)
        assert frames_of(sent) == [TPSM] * 100
        assert [record.message for record in caplog.records] == [
            "face f could not be prepared for sadtalker: VIDEO_GENERATION_FAILED: the network "
            "stumbled"
        ]
        assert stage.count("VIDEO_GENERATION_FAILED") == 1
        assert stage.service.performance.is_closed(SADTALKER)
        stage.sadtalker.error = None
        await asyncio.sleep(RETRY_S)
        assert set(frames_of(await stage.converse(1.0))) == {SADTALKER}

    play(Stage(tmp_path), script)


@pytest.mark.parametrize(
    "error",
    [ValueError("a bug"), LipSyncError(LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, "no nose")],
)
def test_a_model_that_cannot_take_the_face_leaves_the_session_its_others(
    tmp_path: Path, error: Exception
) -> None:
    async def script(stage: Stage) -> None:
        stage.sadtalker.error = error
        sent = await stage.converse(1.0, 1.0)
        assert frames_of(sent) == [TPSM] * 40
        assert len([out for out in sent if isinstance(out, TurnEnded)]) == 2

    play(Stage(tmp_path), script)


def test_a_face_too_large_for_memory_is_given_up_and_not_made_again_and_again(
    tmp_path: Path,
) -> None:
    async def script(stage: Stage) -> None:
        assert frames_of(await stage.converse(5.0)) == [TPSM] * 100
        assert stage.inference.asked[EYE] == 1
        assert stage.count("MODEL_LOAD_FAILED") == 1

    play(Stage(tmp_path, most_bytes=500), script)


def test_a_face_that_left_memory_is_prepared_again_without_a_pause(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        async def forget() -> None:
            await asyncio.sleep(2.5)
            stage.faces._prepared.forget("ann", "f")

        forgetting = asyncio.create_task(forget())
        sent = await stage.converse(5.0)
        await forgetting
        assert len(frames_of(sent)) == 100
        assert [switch[:2] for switch in switches_of(sent)] == [
            (SADTALKER, TPSM),
            (TPSM, SADTALKER),
            (SADTALKER, TPSM),
            (TPSM, SADTALKER),
        ]
        assert stage.inference.asked[EYE] == 1

    play(Stage(tmp_path, takes_s=1.0), script)


def test_a_model_that_nobody_asked_for_sees_no_face_while_a_better_one_is_there(
    tmp_path: Path,
) -> None:
    async def script(stage: Stage) -> None:
        sent = await stage.converse(6.0, preference=None)
        assert frames_of(sent) == [TPSM] * 120
        assert stage.sadtalker.prepared == []

    play(Stage(tmp_path), script)


def test_a_spare_model_sees_the_face_only_when_the_better_ones_stay_away(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.inference.also_ready = ()
        sent = await stage.converse(SPARE_FACE_S + 3.0, preference=None)
        models = frames_of(sent)
        assert set(models[: round(20 * SPARE_FACE_S)]) == {STATIC}
        assert models[-1] is SADTALKER
        assert switches_of(sent) == [(STATIC, SADTALKER, "FACE_PREPARED")]

    play(Stage(tmp_path), script)


def test_the_end_of_the_service_ends_what_is_being_prepared(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        await stage.converse(0.5)
        assert len(stage.service._preparations) == 1

    play(Stage(tmp_path, takes_s=30.0), script)


def test_few_faces_are_prepared_at_once_and_no_more_wait_than_can_be_kept(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        preparations = FacePreparations(stage.faces, stage.inference, stage.metrics)
        face = await stage.faces.load_face_model("ann", "f")
        faces = [dataclasses.replace(face, id=f"f{number}") for number in range(MOST + 5)]
        for face in (*faces, *faces):
            preparations.start(face, stage.sadtalker, 256)
        assert len(preparations) == MOST
        await asyncio.sleep(0.5)
        assert len(stage.sadtalker.prepared) == AT_ONCE
        await asyncio.sleep(200.0)
        assert len(preparations) == 0
        begun = (
            AT_ONCE * 7
        )  # what waited for longer than a minute was not begun: nobody asked for it again
        assert len(stage.sadtalker.prepared) == begun

    play(Stage(tmp_path, takes_s=10.0), script)


def test_a_face_enrolled_for_a_default_model_that_looks_first_is_prepared_behind_the_scenes(
    tmp_path: Path,
) -> None:
    async def script(stage: Stage) -> None:
        face = await stage.faces.load_face_model("ann", "f")
        await stage.service.faces.prepare_face(face, (SADTALKER, STATIC), 256)
        assert stage.inference.asked[EYE] == 0
        await asyncio.sleep(5.0)
        assert stage.faces.prepared(face, stage.sadtalker, 256) is not None

    play(Stage(tmp_path, takes_s=3.0, default_model=SADTALKER), script)
