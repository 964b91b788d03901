"""VideoGeneratorService: generate batches of frames by one model within a deadline."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode, invalid_field
from orchestrator.core.types import GeneratedFrame, RgbImage, StreamingFrame
from orchestrator.inference import Inference, Tensors
from orchestrator.models.base import FeatureWindows, IntroducesFace, ModelAdapter, ModelState
from orchestrator.video.adaptation.frame_rate import thinned
from orchestrator.video.generation_metrics import GenerationCounter, GenerationMetrics
from orchestrator.video.interpolation import interpolate

logger = logging.getLogger(__name__)


class VideoGeneratorService:
    """Generation of frames by adapters; holds only counters.

    Waiting frames belong to the session, which is found by its id.
    """

    def __init__(
        self,
        inference: Inference,
        buffered: Callable[[str], Sequence[StreamingFrame]] = lambda _: (),
    ) -> None:
        """`buffered` returns the frames of a session that wait to be sent."""
        self._inference = inference
        self._buffered = buffered
        self.counter = GenerationCounter()

    @property
    def inference(self) -> Inference:
        """Inference that generates the frames."""
        return self._inference

    async def generate_frames(
        self,
        adapter: ModelAdapter,
        windows: FeatureWindows,
        face: Any,
        state: ModelState,
        *,
        deadline: float,
    ) -> tuple[list[RgbImage], ModelState]:
        """Generate one picture per window, all by this model, and the model's next state.

        `deadline` is the loop's time, infinite for no limit. Raises TIMEOUT after it, and
        VIDEO_GENERATION_FAILED for networks whose outputs do not match the contract.
        """

        async def infer(model: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
            return await self._inference.infer(model, inputs, deadline=deadline)

        began_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(None if math.isinf(deadline) else deadline):
                frames, state = await adapter.generate(infer, windows, face, state)
        except TimeoutError:
            message = f"{adapter.spec.model.value} did not respond within its deadline"
            raise LipSyncError(LipSyncErrorCode.TIMEOUT, message) from None
        # Networks that return other shapes than agreed.
        except (ValueError, TypeError, LookupError, ArithmeticError, cv2.error) as error:
            message = f"{adapter.spec.model.value} cannot use the outputs of its networks"
            logger.exception(message)
            raise LipSyncError(LipSyncErrorCode.VIDEO_GENERATION_FAILED, message) from error
        if (
            frames.shape[0] != len(windows)
            or frames.ndim != 4
            or frames.shape[3] != 3
            or frames.dtype != np.uint8
        ):
            message = (
                f"{adapter.spec.model.value} returned frames of shape {frames.shape} for "
                f"{len(windows)} windows"
            )
            raise LipSyncError(LipSyncErrorCode.VIDEO_GENERATION_FAILED, message)
        now = asyncio.get_running_loop().time()
        self.counter.drawn(len(frames), 1000.0 * (now - began_s), now)
        return list(frames), state

    def interpolate_frames(
        self, before: GeneratedFrame, after: GeneratedFrame, factor: float
    ) -> GeneratedFrame:
        """Frame at `factor` (0..1) between two, in picture and time; see `interpolation`."""
        time_ms = before.audio_timestamp_ms + factor * (
            after.audio_timestamp_ms - before.audio_timestamp_ms
        )
        image = interpolate(before.image, after.image, factor)
        return replace(
            before,
            image=image,
            audio_timestamp_ms=time_ms,
            generation_time_ms=0.0,
            is_interpolated=True,
        )

    def drop_frames_for_performance(
        self, frames: Sequence[GeneratedFrame], target_fps: float
    ) -> list[GeneratedFrame]:
        """Drop frames evenly to reach `target_fps`, and renumber the rest without gaps.

        The present rate follows from the timestamps. Frames of one moment have no rate, and stay.
        """
        if not (math.isfinite(target_fps) and target_fps > 0.0):
            raise invalid_field("targetFps", f"is {target_fps:g}; must be more than 0")
        span_s = (
            (frames[-1].audio_timestamp_ms - frames[0].audio_timestamp_ms) / 1000.0
            if frames
            else 0.0
        )
        if span_s <= 0.0:
            return list(frames)
        kept = thinned(frames, (len(frames) - 1) / span_s, target_fps)
        self.counter.frames_dropped += len(frames) - len(kept)
        return [
            replace(frame, sequence_number=number)
            for number, frame in enumerate(kept, start=frames[0].sequence_number)
        ]

    def get_buffered_frames(self, session_id: str) -> list[StreamingFrame]:
        """Encoded frames of the session that wait for its client, oldest first."""
        return list(self._buffered(session_id))

    def get_metrics(self) -> GenerationMetrics:
        """Counters over all sessions since the start; means over the last batches."""
        return self.counter.metrics()

    async def ready(self, adapter: ModelAdapter) -> bool:
        """True if every Triton model of the adapter is ready."""
        return all([await self._inference.ready(model) for model in adapter.spec.triton_models])

    async def introduce(self, adapter: IntroducesFace, face: Any, *, deadline: float) -> bool:
        """Send a face to every server ahead of its first frame; False if a network failed."""
        requests = adapter.introduction(face).items()
        return all(
            [
                await self._inference.infer_everywhere(model, inputs, deadline=deadline)
                for model, inputs in requests
            ]
        )

    async def probe(self, adapter: ModelAdapter, *, deadline: float) -> bool:
        """Probe a failed model with its smallest valid request; True if it responds."""
        try:
            for model, inputs in adapter.probe_inputs().items():
                await self._inference.infer(model, inputs, deadline=deadline)
        except LipSyncError:
            return False
        return True
