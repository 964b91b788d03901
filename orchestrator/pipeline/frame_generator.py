"""Generate one batch of a turn's frames: cache, features, model, interpolation and cross-fade."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.executors import in_frame_thread
from orchestrator.core.metrics import Metrics
from orchestrator.core.tracing import span
from orchestrator.core.types import FaceModel, GeneratedFrame, LipSyncModel, RgbImage
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.models.base import ModelAdapter
from orchestrator.pipeline.circuit_breaker import PerformanceTracker
from orchestrator.pipeline.turn import Turn
from orchestrator.video.adaptation.thresholds import OVERLOADED
from orchestrator.video.frame_cache import FrameCache
from orchestrator.video.generator import VideoGeneratorService
from orchestrator.video.interpolation import interpolate


@dataclass(frozen=True, slots=True)
class Due:
    """Frames of a turn that are due: the next `count` slots, of which `kept` get a frame."""

    count: int
    kept: Sequence[int]
    """Offsets from the turn's next frame, ascending."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Pictures of the kept frames."""

    images: list[RgbImage]
    interpolated: frozenset[int]
    """Positions in `images` that no model generated."""
    elapsed_ms: float


class FrameGenerator:
    """Generates pictures with one given model; every wait has a deadline."""

    def __init__(
        self,
        config: ServiceConfig,
        adapters: Mapping[LipSyncModel, ModelAdapter],
        faces: FaceModelCacheService,
        video: VideoGeneratorService,
        performance: PerformanceTracker,
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._adapters = adapters
        self._faces = faces
        self._video = video
        self._performance = performance
        self._metrics = metrics
        self._cache = FrameCache(config.frame_cache_ttl)

    async def generate(
        self, turn: Turn, face: FaceModel, model: LipSyncModel, due: Due
    ) -> Generated:
        """Pictures of the kept frames; the turn's cursor does not move. Raises `LipSyncError`."""
        loop = asyncio.get_running_loop()
        began_s, places = loop.time(), _generated_places(turn, len(due.kept))
        with span("generate", model=model.value, frames=len(places)):
            offsets = [due.kept[place] for place in places]
            images = await self._images(turn, face, model, due.count, offsets)
        elapsed_ms = (loop.time() - began_s) * 1000.0
        self._record(turn, model, due, len(images), elapsed_ms)
        before = turn.generation.last_image
        if len(places) < len(due.kept) and before is not None:
            images = await in_frame_thread(_completed, before, images, places)
        return Generated(images, frozenset(range(len(images))) - frozenset(places), elapsed_ms)

    def complete(
        self, turn: Turn, model: LipSyncModel, due: Due, made: Generated, *, switched: bool
    ) -> list[GeneratedFrame]:
        """Frames of the pictures, faded over the last one after a switch; moves the cursor."""
        state = turn.generation
        images = state.fade.over(state.last_image if switched else None, made.images)
        return turn.advance(
            images,
            model,
            made.elapsed_ms / len(images),
            due.kept,
            due.count,
            made.interpolated,
        )

    async def _images(
        self, turn: Turn, face: FaceModel, model: LipSyncModel, count: int, offsets: Sequence[int]
    ) -> list[RgbImage]:
        adapter, now = self._adapters[model], asyncio.get_running_loop().time()
        keys = self._cache_keys(turn, face, adapter, offsets)
        if keys is not None and (known := self._cache.get(keys, now)) is not None:
            self._metrics.cached_frames_total.inc(len(known))
            return known
        images = await self._infer(turn, face, adapter, count, offsets)
        if keys is not None:
            self._cache.put(keys, images, now)
        return images

    async def _infer(
        self, turn: Turn, face: FaceModel, adapter: ModelAdapter, count: int, offsets: Sequence[int]
    ) -> list[RgbImage]:
        model, states = adapter.spec.model, turn.generation.states
        width = turn.config.resolution.width
        prepared = await self._faces.optimize_for_model(face, adapter, width)
        with self._metrics.stage("features", model.value):
            windows = turn.windows(adapter.spec, count, offsets)
        images, state = await self._video.generate_frames(
            adapter, windows, prepared, states.get(model), deadline=self._deadline_s(adapter)
        )
        _check_size(images, turn, model)
        states[model] = state
        return images

    def _deadline_s(self, adapter: ModelAdapter) -> float:
        """Loop time by which the model must respond; none for a model that runs in this process:
        as the last resort it has no fallback.
        """
        if not adapter.spec.triton_models:
            return math.inf
        return asyncio.get_running_loop().time() + self._config.chunk_deadline_ms / 1000.0

    def _cache_keys(
        self, turn: Turn, face: FaceModel, adapter: ModelAdapter, offsets: Sequence[int]
    ) -> list[Hashable] | None:
        """Keys of the frames; None where they may not be cached."""
        if not adapter.spec.stateless or self._config.frame_cache_ttl <= 0.0:
            return None
        keys = turn.frame_keys(adapter.spec, offsets)
        if keys is None:
            return None
        return [(face.user_id, face.id, face.version, key) for key in keys]

    def _record(
        self, turn: Turn, model: LipSyncModel, due: Due, generated: int, elapsed_ms: float
    ) -> None:
        frame_ms = 1000.0 / turn.fps
        turn.generation.load = elapsed_ms / (frame_ms * generated)
        turn.generation.batch_load = elapsed_ms / (frame_ms * due.count)
        now = asyncio.get_running_loop().time()
        self._performance.record_success(
            model, elapsed_ms, generated, now, lasting_ms=due.count * frame_ms
        )
        self._metrics.observe_stage("generate", model.value, elapsed_ms / 1000.0)


def _check_size(images: Sequence[RgbImage], turn: Turn, model: LipSyncModel) -> None:
    size = turn.config.resolution
    for image in images:
        if image.shape[:2] != (size.height, size.width):
            message = (
                f"{model.value} drew {image.shape[1]}x{image.shape[0]} instead of "
                f"{size.width}x{size.height}"
            )
            raise LipSyncError(LipSyncErrorCode.VIDEO_GENERATION_FAILED, message)


def _generated_places(turn: Turn, count: int) -> list[int]:
    """Positions in a batch of `count` that the model generates: the last and every second before
    it if the client allows interpolation and the model is overloaded, else all.
    """
    state = turn.generation
    is_overloaded = state.load > OVERLOADED and state.last_image is not None
    if not turn.config.enable_interpolation or not is_overloaded:
        return list(range(count))
    return list(range((count - 1) % 2, count, 2))


def _completed(
    before: RgbImage, images: Sequence[RgbImage], places: Sequence[int]
) -> list[RgbImage]:
    """The batch with interpolated pictures between the generated ones at `places`; `before` was
    shown last.
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
