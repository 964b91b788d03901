"""Which face a session speaks with: stored anew, made active, swapped, deleted or spoiled between
and within its turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import face_packages as made
import pytest
from fakes import ScriptedAdapter, ScriptedInference, pcm_chunk
from virtual_time import run_virtual

from orchestrator.core.channel import ChannelClosedError
from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import FaceModel, LipSyncModel, VideoGenerationConfig
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.errors import ErrorTranslatingStore
from orchestrator.faces.storage.layout import Blob
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.models.base import FeatureWindows, Frames, Infer, ModelState
from orchestrator.pipeline.frame_pipeline import FramePipeline
from orchestrator.pipeline.session_events import (
    Failed,
    InboxItem,
    Outgoing,
    OutgoingFrame,
    Switched,
    TurnStarted,
)
from orchestrator.pipeline.session_state import Session
from orchestrator.sessions.directory import SessionDirectory
from orchestrator.sessions.worker import SessionWorker
from orchestrator.video.generator import VideoGeneratorService
from orchestrator.video.streamer import VideoStreamingService

TPSM, STATIC = LipSyncModel.TPSM, LipSyncModel.STATIC


class FragileStore(LocalFaceStore):
    """Can be away."""

    away = False

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        if self.away:
            raise OSError("away")
        return await super().blobs(prefix)


class LookingAdapter(ScriptedAdapter):
    """Notes the face of every frame; cannot take the faces in `refused`."""

    refused: dict[str, Exception]
    seen: list[FaceModel]

    def prepare(self, face: FaceModel, size: int) -> Any:
        if error := self.refused.get(face.id):
            raise error
        prepared = super().prepare(face, size)
        prepared.face = face  # type: ignore[attr-defined]
        return prepared

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: Any, state: ModelState
    ) -> tuple[Frames, ModelState]:
        self.seen += [face.face] * len(windows)
        return await super().generate(infer, windows, face, state)


class Stage:
    """One session of ann's over faces on disk; the models note which face they draw."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.store = FragileStore(folder)
        self.faces = FaceModelCacheService(ErrorTranslatingStore(self.store), **settings)
        self.adapters = {TPSM: LookingAdapter(TPSM), STATIC: LookingAdapter(STATIC, ahead_frames=0)}
        for adapter in self.adapters.values():
            adapter.refused, adapter.seen = {}, []
        video = VideoGeneratorService(ScriptedInference({"tpsm"}))
        self.pipeline = FramePipeline(
            ServiceConfig(), self.adapters, self.faces, video, VideoStreamingService(), Metrics()
        )
        self.session = Session("s", "ann", inbox_ms=30_000.0, outbox_frames=60)
        environment: Any = SimpleNamespace(config=ServiceConfig(), metrics=Metrics())
        self.sessions = SessionDirectory(environment)
        self.faces.on_swap = self.sessions.swap_face
        self.sent: list[Outgoing] = []
        self.ordinal = 0

    def play(self, script: Callable[[Stage], Awaitable[None]]) -> Stage:
        async def run() -> None:
            for face in ("a", "b"):
                await self.enrol(face)
            await self.faces.activate("ann", "a")
            self.sessions.add(self.session)
            self.live = SessionWorker(self.session, self.pipeline, pacing_lead_s=0.5)
            tasks = [asyncio.create_task(self.live.work()), asyncio.create_task(self._send())]
            await script(self)
            await self.session.audio.inbox.close()
            await asyncio.gather(*tasks)

        run_virtual(run())
        return self

    async def enrol(self, face: str, **files: Any) -> None:
        await made.put(self.store, "ann", face, made.package(**files))

    async def turn(
        self,
        face: str | None,
        chunks: int = 10,
        between: Callable[[], Awaitable[object]] | None = None,
    ) -> list[FaceModel]:
        """A turn in real time whose chunks name this face; the faces that tpsm drew. `between` runs
        in its middle.
        """
        self.ordinal += 1
        before = len(self.adapters[TPSM].seen)
        for number in range(chunks):
            if number == chunks // 2 and between is not None:
                await between()
            await self.live.accept(self._item(face, number))
            await asyncio.sleep(0.1)
        await self.live.accept(self._item(None, None))
        await asyncio.sleep(0.5)
        return self.adapters[TPSM].seen[before:]

    def _item(self, face: str | None, number: int | None) -> InboxItem:
        chunk = (
            None
            if number is None
            else pcm_chunk(sequence_number=number, timestamp_ms=100.0 * number)
        )
        now = asyncio.get_running_loop().time()
        return InboxItem(
            self.ordinal,
            f"turn-{self.ordinal}",
            VideoGenerationConfig(),
            face,
            chunk,
            now,
            0.0 if chunk is None else 100.0,
        )

    async def _send(self) -> None:
        while True:
            try:
                self.sent.append(await self.session.delivery.outbox.get())
            except ChannelClosedError:
                return

    def frames(self) -> list[LipSyncModel]:
        return [out.frame.lip_sync_model for out in self.sent if isinstance(out, OutgoingFrame)]

    def told(self) -> list[tuple[LipSyncErrorCode, bool]]:
        return [
            (out.error.code, out.error.recoverable) for out in self.sent if isinstance(out, Failed)
        ]


@pytest.mark.parametrize("named", ["a", None])
def test_a_face_stored_anew_under_its_id_speaks_from_the_next_turn_on(
    tmp_path: Path, named: str | None
) -> None:
    async def script(stage: Stage) -> None:
        first = await stage.turn("a")
        await stage.enrol("a", picture=made.jpeg(256, 300))
        second = await stage.turn(named)
        assert (len(first), len(second)) == (20, 20)
        assert {face.resolution.height for face in first} == {256}
        assert {face.resolution.height for face in second} == {300}

    assert Stage(tmp_path).play(script).told() == []


def test_a_face_stored_anew_in_mid_turn_waits_for_the_next_one(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        seen = await stage.turn("a", between=lambda: stage.enrol("a", picture=made.jpeg(256, 300)))
        assert {face.resolution.height for face in seen} == {256}

    Stage(tmp_path).play(script)


def test_an_unchanged_face_is_prepared_once_for_all_turns(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        seen = [*await stage.turn("a"), *await stage.turn("a"), *await stage.turn(None)]
        assert len({id(face) for face in seen}) == 1

    Stage(tmp_path).play(script)


def test_a_session_that_names_no_face_follows_its_users_active_one(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        first = await stage.turn(None)
        await stage.faces.activate("ann", "b")
        second = await stage.turn(None)
        assert ({face.id for face in first}, {face.id for face in second}) == ({"a"}, {"b"})

    Stage(tmp_path).play(script)


def test_a_session_that_named_a_face_keeps_it_whichever_is_active(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        await stage.turn("a")
        await stage.faces.activate("ann", "b")
        assert {face.id for face in await stage.turn(None)} == {"a"}

    Stage(tmp_path).play(script)


@pytest.mark.parametrize("named", ["a", None])
def test_a_hot_swap_reaches_a_session_in_mid_turn_without_a_missing_frame(
    tmp_path: Path, named: str | None
) -> None:
    async def script(stage: Stage) -> None:
        async def swap() -> None:
            await stage.faces.hot_swap_model("ann", "a", "b")
            await stage.faces.delete_face_model("ann", "a")

        seen = [face.id for face in await stage.turn(named, between=swap)]
        assert seen == sorted(seen)
        assert 6 <= seen.count("a") <= 10
        assert {face.id for face in await stage.turn(named)} == {"b"}, "and it stays"

    stage = Stage(tmp_path).play(script)
    assert (stage.frames(), stage.told()) == ([TPSM] * 40, [])


def test_a_hot_swap_leaves_sessions_with_other_faces_alone(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        await stage.turn("b")
        await stage.enrol("c")
        await stage.faces.hot_swap_model("ann", "a", "c")
        assert {face.id for face in await stage.turn("b")} == {"b"}

    Stage(tmp_path).play(script)


@pytest.mark.parametrize("named", ["a", None])
def test_a_deleted_face_speaks_to_the_end_of_its_turn_and_then_the_session_ends(
    tmp_path: Path, named: str | None
) -> None:
    async def script(stage: Stage) -> None:
        async def delete() -> None:
            for face in ("b", "a"):
                await stage.faces.delete_face_model("ann", face)

        assert len(await stage.turn(named, between=delete)) == 20
        assert await stage.turn(named, chunks=1) == []

    assert Stage(tmp_path).play(script).told() == [(LipSyncErrorCode.FACE_MODEL_NOT_FOUND, False)]


def test_a_face_that_was_spoiled_in_storage_is_told_once_and_the_one_in_memory_goes_on(
    tmp_path: Path,
) -> None:
    async def script(stage: Stage) -> None:
        await stage.turn("a")
        await stage.enrol("a", keypoints=b"[]")
        assert len(await stage.turn("a")) == 20

    assert Stage(tmp_path).play(script).told() == [(LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, True)]


def test_where_the_storage_is_away_a_sessions_face_goes_on_without_a_word(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        await stage.turn("a")
        await stage.faces.load_face_model("ann", "b")  # now the session alone holds a
        stage.store.away = True
        assert {face.id for face in await stage.turn("a")} == {"a"}

    assert Stage(tmp_path, max_faces=1).play(script).told() == []


@pytest.mark.parametrize("error", [ValueError("no mouth"), ZeroDivisionError(), IndexError()])
def test_a_face_that_a_model_cannot_take_speaks_with_the_next_one_from_its_first_frame(
    tmp_path: Path, error: Exception
) -> None:
    async def script(stage: Stage) -> None:
        stage.adapters[TPSM].refused["a"] = error
        assert await stage.turn("a") == []
        assert len(await stage.turn("b")) == 20

    stage = Stage(tmp_path).play(script)
    assert stage.frames() == [STATIC] * 20 + [TPSM] * 20
    assert [out.model for out in stage.sent if isinstance(out, TurnStarted)] == [STATIC, TPSM]
    assert stage.told() == []
    assert [out.reason for out in stage.sent if isinstance(out, Switched)] == ["RECOVERED"]
    assert stage.pipeline.performance.performance(TPSM).success_rate == 1.0


def test_a_face_that_only_the_preferred_model_cannot_take_says_so(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.adapters[TPSM].refused["a"] = ValueError("no mouth")
        stage.session.models.preference = TPSM
        await stage.turn("a")

    stage = Stage(tmp_path).play(script)
    switches = [
        (out.before, out.after, out.reason) for out in stage.sent if isinstance(out, Switched)
    ]
    assert switches == [(TPSM, STATIC, "FACE_MODEL_INCOMPATIBLE")]
