"""The next frames of a turn, from the best model that can draw them: selection, drawing, fallback,
coding.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, Final

from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.executors import in_frame_thread
from orchestrator.core.metrics import Metrics
from orchestrator.core.tracing import span
from orchestrator.core.types import (
    FaceModel,
    GeneratedFrame,
    LipSyncModel,
    RgbImage,
    StreamingFrame,
)
from orchestrator.faces.preparation.background import FacePreparations
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.inference.weights_provenance import Weights, WeightsRegister, warning_of
from orchestrator.models.base import IntroducesFace, ModelAdapter
from orchestrator.pipeline.batch_window import BatchWindow
from orchestrator.pipeline.circuit_breaker import SHARED_FAILURES
from orchestrator.pipeline.model_selector import ModelChoice, Switch
from orchestrator.pipeline.poster import poster_jpeg, windows_at_rest
from orchestrator.pipeline.recovery_probes import Probes
from orchestrator.pipeline.session_events import Poster
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.turn import Turn
from orchestrator.video.adaptation.frame_rate import OVERLOADED, after_load, is_kept, load_of
from orchestrator.video.adaptation.frame_skipping import congestion_of
from orchestrator.video.frame_cache import FrameCache
from orchestrator.video.generator import VideoGeneratorService
from orchestrator.video.interpolation import interpolate
from orchestrator.video.streamer import VideoStreamingService

logger = logging.getLogger(__name__)

EXCLUSION_S: Final = 4.0
"""A model that failed on one session's own face or audio is not tried again by that session for
this long.
"""

STORED_FACE_S: Final = 0.25
"""A turn's begin waits this long for a model whose face is prepared only now: enough where a stored
encoding is read back.
"""

INTRODUCTION_S: Final = 0.5
"""A turn's begin waits this long for the servers to take a face; 10 ms are usual."""

MOST_INTRODUCED: Final = 256
"""Faces and sizes that are remembered as sent; a renderer holds 64 of them."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive frames from one model."""

    frames: list[GeneratedFrame]
    slots: list[int]
    """Number of each frame on the grid of the requested frame rate."""
    switch: Switch | None


class FramePipeline:
    """Joins faces, models and pictures; every wait below it has a deadline."""

    def __init__(
        self,
        config: ServiceConfig,
        adapters: Mapping[LipSyncModel, ModelAdapter],
        faces: FaceModelCacheService,
        video: VideoGeneratorService,
        streaming: VideoStreamingService,
        metrics: Metrics,
        weights: WeightsRegister | None = None,
    ) -> None:
        self._config = config
        self._adapters = adapters
        self._faces = faces
        self._video = video
        self._streaming = streaming
        self.metrics = metrics
        self._weights = weights
        self._preparations = FacePreparations(faces, video.inference, metrics)
        self.choice = ModelChoice(config, adapters, video, self._preparations, metrics)
        self.performance = self.choice.performance
        self._frames = FrameCache(config.frame_cache_ttl)
        self._introduced: dict[Hashable, None] = {}
        """Faces that servers were sent, the first one first."""
        self.batch_window = BatchWindow(config.batch_window_ms)

    async def close(self) -> None:
        """End what goes on beside the sessions."""
        await self._preparations.close()

    async def open_face(self, session: Session, face_model_id: str | None) -> None:
        """Give the session the face that it is to speak with: another one is named, swapped in, or
        was stored since the last turn.

        Storage is asked at a turn's begin, and within a turn only for another id; where it is away
        the session's own face stays. Raises what loading raises; the session then has the face that
        it had, unless that was deleted: it speaks to its turn's end, no longer.
        """
        if session.face.swapped is not None:
            self._give_face(session, session.face.swapped)
        another = face_model_id if face_model_id != session.face.named_id else None
        if session.face.current is not None and session.audio.turn is not None and another is None:
            return
        try:
            face = await self._faces.load_face_model(session.user_id, another or _held_id(session))
        except LipSyncError as error:
            if session.face.current is not None and another is None and error.recoverable:
                logger.warning(
                    "session %s goes on with the face that it has: %s", session.id, error.message
                )
                return
            if another is None and error.code is LipSyncErrorCode.FACE_MODEL_NOT_FOUND:
                session.face.current = session.face.named_id = None
            raise
        session.face.named_id = another or session.face.named_id
        self._give_face(session, face)

    def _give_face(self, session: Session, face: FaceModel) -> None:
        session.face.swapped = None
        if face is session.face.current:
            return
        session.face.current, session.models.compatible = (
            face,
            self._faces.validate_compatibility(face).compatible_lip_sync_models,
        )
        session.models.awaited_since_s.clear()

    async def warm_up(self, session: Session, size: int) -> LipSyncModel:
        """Derive what the likely models need of the face, so that neither the first frame nor a
        fallback waits; the first candidate.
        """
        face, session.face.size = _face_of(session), size
        known = frozenset(session.models.awaited_since_s)
        models = await self.choice.select_model(session)
        if session.models.awaited_since_s.keys() - known:
            await self._preparations.wait(face, session.models.awaited_since_s, STORED_FACE_S)
            models = await self.choice.select_model(session)
        await self.prepare_face(face, (LipSyncModel.STATIC,), size)
        return await self._first_prepared(session, models)

    async def _first_prepared(
        self, session: Session, models: Sequence[LipSyncModel]
    ) -> LipSyncModel:
        """The first of the models that can make something of the session's face, for which it is
        prepared then.
        """
        for model in models:
            try:
                await self.prepare_face(_face_of(session), (model,), session.face.size)
            except LipSyncError as error:
                if error.code is not LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE:
                    raise
                self._record_failure(session, model, error, asyncio.get_running_loop().time())
            else:
                return model
        raise _all_failed({})

    async def prepare_face(
        self, face: FaceModel, models: Iterable[LipSyncModel], size: int
    ) -> None:
        """Derive what these models need of a face, ahead of its first frame; what takes networks
        goes on in the background.
        """
        for model in dict.fromkeys(models):
            adapter = self._adapters[model]
            if self._preparations.is_ready(face, adapter, size):
                prepared = await self._faces.optimize_for_model(face, adapter, size)
                await self._introduce(face, adapter, size, prepared)
            elif await self.choice.available(model):
                self._preparations.start(face, adapter, size)

    def prepare_later(
        self, face: FaceModel, models: Iterable[LipSyncModel], sizes: Iterable[int]
    ) -> None:
        """Prepare a face in the background, so that what is derived from it is stored before
        somebody asks for it.
        """
        for size, model in product(sizes, models):
            self._preparations.start(face, self._adapters[model], size)

    async def _introduce(
        self, face: FaceModel, adapter: ModelAdapter, size: int, prepared: Any
    ) -> None:
        """Send the face to the servers that keep it, once. One that has lost it says so, and gets
        it with the next frame.
        """
        key = (face.user_id, face.id, face.version, adapter.spec.model, size)
        if (
            key in self._introduced
            or not isinstance(adapter, IntroducesFace)
            or not await self.choice.available(adapter.spec.model)
        ):
            return
        deadline = asyncio.get_running_loop().time() + INTRODUCTION_S
        if await self._video.introduce(adapter, prepared, deadline=deadline):
            self._introduced[key] = None
            if len(self._introduced) > MOST_INTRODUCED:
                del self._introduced[next(iter(self._introduced))]

    async def poster(self, session: Session, size: int) -> Poster | None:
        """The face as its first frame will show it, once for each face and size; None where it was
        sent, or cannot be drawn.
        """
        face = _face_of(session)
        if (face.id, size) in session.face.posters:
            return None
        session.face.posters.add((face.id, size))
        adapter = self._adapters[LipSyncModel.STATIC]
        try:
            prepared = await self._faces.optimize_for_model(face, adapter, size)
            windows = windows_at_rest(adapter.spec, session.audio.idle_s)
            images, _ = await self._video.generate_frames(
                adapter, windows, prepared, None, deadline=math.inf
            )
        except LipSyncError:
            return None  # the first frame's own attempt will say what is wrong
        return Poster(face.id, poster_jpeg(images[0]), size)

    def kept_frames(self, session: Session, turn: Turn, count: int, late_s: float) -> list[int]:
        """Which of the next `count` frames are drawn: all, unless client or model cannot keep up;
        they could have been so long ago.
        """
        now, fill = asyncio.get_running_loop().time(), session.delivery.outbox.fill
        if self._config.enable_adaptive_bitrate:
            self._streaming.adapt_to_queue(session.delivery.stream, fill, now)
        session.delivery.frame_rate = after_load(
            session.delivery.frame_rate,
            load_of(session.delivery.frame_rate, fill, turn.generation.batch_load, late_s),
            now,
        )
        fps = session.delivery.frame_rate.fps(turn.fps)
        wanted = [
            offset for offset in range(count) if is_kept(turn.next_frame + offset, turn.fps, fps)
        ]
        kept = self._streaming.skip_frames_for_congestion(
            wanted, congestion_of(fill), session.delivery.stream.since_keyframe
        )
        kept = session.delivery.stream.affordable(
            kept,
            [turn.clock.audio_timestamp_ms(turn.next_frame + offset) for offset in kept],
            turn.config,
        )
        self._video.counter.frames_dropped += count - len(kept)
        if len(kept) < count:
            self.metrics.frames_dropped_total.labels("congestion").inc(count - len(kept))
        return kept

    async def next_frames(
        self,
        session: Session,
        turn: Turn,
        models: Sequence[LipSyncModel],
        count: int,
        kept: Sequence[int] | None = None,
    ) -> Batch:
        """The turn's next `count` frames, or those `kept` of them, all from the first of `models`
        that can draw them.

        The cursor moves only on success.
        """
        offsets = range(count) if kept is None else kept
        loop = asyncio.get_running_loop()
        failures: dict[LipSyncModel, LipSyncErrorCode] = {}
        for model in models:
            if (
                not self._is_prepared(session, turn, model)
                or turn.frames_ready(self._adapters[model].spec, count) < count
            ):
                continue
            started_s, drawn = loop.time(), _drawn_places(turn, len(offsets))
            try:
                with span("generate", model=model.value, frames=len(drawn)):
                    images = await self._draw(
                        session, turn, model, count, [offsets[place] for place in drawn]
                    )
            except LipSyncError as error:
                failures[model] = error.code
                self._record_failure(session, model, error, loop.time())
                continue
            elapsed_ms = (loop.time() - started_s) * 1000.0
            turn.generation.load = elapsed_ms * turn.fps / (1000.0 * len(images))
            turn.generation.batch_load = elapsed_ms * turn.fps / (1000.0 * count)
            self.performance.record_success(
                model, elapsed_ms, len(images), loop.time(), lasting_ms=1000.0 * count / turn.fps
            )
            self.metrics.observe_stage("generate", model.value, elapsed_ms / 1000.0)
            if len(drawn) < len(offsets) and turn.generation.last_image is not None:
                images = await in_frame_thread(
                    _completed, turn.generation.last_image, images, drawn
                )
            switch = self.choice.note_switch(session, turn, model, failures)
            images = turn.generation.fade.over(
                turn.generation.last_image if switch is not None else None, images
            )
            between = set(range(len(images))) - set(drawn)
            slots = [turn.next_frame + offset for offset in offsets]
            return Batch(
                turn.advance(images, model, elapsed_ms / len(images), offsets, count, between),
                slots,
                switch,
            )
        raise _all_failed(failures)

    async def prepare_for_streaming(
        self,
        session: Session,
        turn: Turn,
        frames: list[GeneratedFrame],
        *,
        force_keyframe: bool = False,
    ) -> list[StreamingFrame]:
        """Coded frames; a turn begins with a keyframe, and so does another model."""
        is_first = frames[0].sequence_number == 0
        with self.metrics.stage("encode", turn.config.format.value):
            return await self._streaming.code(
                session.delivery.stream,
                frames,
                turn.config,
                force_keyframe=force_keyframe or is_first,
            )

    def note_underrun(self) -> None:
        """A frame left more than its own length after it could have: the viewer's buffer shrank."""
        self._video.counter.buffer_underruns += 1
        self.metrics.buffer_underruns_total.inc()

    async def probe_failed_models(self) -> None:
        """Ask models whose circuit is open whether they are back; runs as a task for the service's
        whole life.
        """
        await Probes(
            self._adapters, self._video, self.performance, self._config.chunk_deadline_ms / 1000.0
        ).run()

    def weights(self, model: LipSyncModel) -> tuple[Weights, ...]:
        """Whose weights the model's networks have, of those whose files lie here."""
        return (
            self._weights.of(self.choice.spec(model).triton_models)
            if self._weights is not None
            else ()
        )

    def weights_warning(self, model: LipSyncModel) -> str:
        """What has to be said with the model's name; empty for weights that somebody trained."""
        return warning_of(self.weights(model))

    async def _draw(
        self, session: Session, turn: Turn, model: LipSyncModel, count: int, kept: Sequence[int]
    ) -> list[RgbImage]:
        adapter, now = self._adapters[model], asyncio.get_running_loop().time()
        keys = self._frame_keys(session, turn, adapter, kept)
        if keys is not None and (known := self._frames.get(keys, now)) is not None:
            self.metrics.cached_frames_total.inc(len(known))
            return known
        face = await self._faces.optimize_for_model(
            _face_of(session), adapter, turn.config.resolution.width
        )
        with self.metrics.stage("features", model.value):
            windows = turn.windows(adapter.spec, count, kept)
        deadline = math.inf
        if (
            adapter.spec.triton_models
        ):  # the last resort is drawn in this process: late is better than nothing
            deadline = asyncio.get_running_loop().time() + self._config.chunk_deadline_ms / 1000.0
        images, state = await self._video.generate_frames(
            adapter, windows, face, turn.generation.states.get(model), deadline=deadline
        )
        _check_size(images, turn, model)
        turn.generation.states[model] = state
        if keys is not None:
            self._frames.put(keys, images, now)
        return images

    def _frame_keys(
        self, session: Session, turn: Turn, adapter: ModelAdapter, kept: Sequence[int]
    ) -> list[Hashable] | None:
        keys = (
            turn.frame_keys(adapter.spec, kept)
            if adapter.spec.stateless and self._config.frame_cache_ttl > 0.0
            else None
        )
        face = _face_of(session)
        return (
            None if keys is None else [(face.user_id, face.id, face.version, key) for key in keys]
        )

    def _is_prepared(self, session: Session, turn: Turn, model: LipSyncModel) -> bool:
        return self._preparations.is_ready(
            _face_of(session), self._adapters[model], turn.config.resolution.width
        )

    def _record_failure(
        self, session: Session, model: LipSyncModel, error: LipSyncError, now: float
    ) -> None:
        logger.warning(
            "session %s: %s failed: %s: %s",
            session.id,
            model.value,
            error.code.value,
            error.message,
        )
        self.performance.record_failure(model, error.code, now)
        if (
            error.code is LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE
        ):  # and stays so, until the session has another face
            session.models.compatible = tuple(
                other for other in session.models.compatible if other is not model
            )
        elif error.code not in SHARED_FAILURES:
            session.models.excluded_until_s[model] = now + EXCLUSION_S


def _face_of(session: Session) -> FaceModel:
    if session.face.current is None:
        raise LipSyncError(
            LipSyncErrorCode.FACE_MODEL_NOT_FOUND,
            "the session has no face model yet",
            recoverable=False,
        )
    return session.face.current


def _held_id(session: Session) -> str | None:
    """What to load anew for a session that names no other face: its own, or whichever is its user's
    active one.
    """
    return (
        session.face.current.id
        if session.face.current is not None and session.face.named_id is not None
        else None
    )


def _all_failed(failures: Mapping[LipSyncModel, LipSyncErrorCode]) -> LipSyncError:
    details = {model.value: code.value for model, code in failures.items()}
    return LipSyncError(
        LipSyncErrorCode.VIDEO_GENERATION_FAILED, "every candidate failed", details=details
    )


def _check_size(images: Sequence[RgbImage], turn: Turn, model: LipSyncModel) -> None:
    size = turn.config.resolution
    for image in images:
        if image.shape[:2] != (size.height, size.width):
            message = (
                f"{model.value} drew {image.shape[1]}x{image.shape[0]} instead of "
                f"{size.width}x{size.height}"
            )
            raise LipSyncError(LipSyncErrorCode.VIDEO_GENERATION_FAILED, message)


def _drawn_places(turn: Turn, count: int) -> list[int]:
    """Which of a batch's frames the model draws: the last and every second before it, where client
    and load allow it.
    """
    if (
        not turn.config.enable_interpolation
        or turn.generation.load <= OVERLOADED
        or turn.generation.last_image is None
    ):
        return list(range(count))
    return list(range((count - 1) % 2, count, 2))


def _completed(
    before: RgbImage, images: Sequence[RgbImage], places: Sequence[int]
) -> list[RgbImage]:
    """The batch with the pictures between the drawn ones, which are at `places`; `before` was shown
    last.
    """
    whole: list[RgbImage] = []
    for (earlier, place), (image, after) in pairwise(
        zip((before, *images), (-1, *places), strict=True)
    ):
        whole += [
            interpolate(earlier, image, (between - place) / (after - place))
            for between in range(place + 1, after)
        ]
        whole.append(image)
    return whole
