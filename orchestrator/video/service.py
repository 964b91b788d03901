"""VideoGeneratorService: one batch of frames from one model, within its deadline."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import LipSyncError, LipSyncErrorCode
from orchestrator.inference import Inference, Tensors
from orchestrator.models.base import FeatureWindows, ModelAdapter, ModelState
from orchestrator.types import RgbImage

CROSS_FADE_FRAMES: Final = 3
"""Frames over which the picture of one model gives way to the next one's."""


class VideoGeneratorService:
    """Asks adapters for frames; holds no state of its own."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    @property
    def inference(self) -> Inference:
        """Where the frames come from."""
        return self._inference

    async def generate_frames(
        self, adapter: ModelAdapter, windows: FeatureWindows, face: Any, state: ModelState, *, deadline: float
    ) -> tuple[list[RgbImage], ModelState]:
        """A picture per window, all from this model, or a `LipSyncError`; `deadline` is the loop's time, infinite where
        nothing has to be waited for."""

        async def infer(model: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
            return await self._inference.infer(model, inputs, deadline=deadline)

        try:
            async with asyncio.timeout_at(None if math.isinf(deadline) else deadline):
                frames, state = await adapter.generate(infer, windows, face, state)
        except TimeoutError:
            message = f"{adapter.spec.model.value} did not answer within its deadline"
            raise LipSyncError(LipSyncErrorCode.TIMEOUT, message) from None
        if frames.shape[0] != len(windows) or frames.ndim != 4 or frames.dtype != np.uint8:
            message = f"{adapter.spec.model.value} answered frames of shape {frames.shape} for {len(windows)} windows"
            raise LipSyncError(LipSyncErrorCode.VIDEO_GENERATION_FAILED, message)
        return list(frames), state

    async def ready(self, adapter: ModelAdapter) -> bool:
        """Whether every Triton model of the adapter would answer."""
        return all([await self._inference.ready(model) for model in adapter.spec.triton_models])

    async def probe(self, adapter: ModelAdapter, *, deadline: float) -> bool:
        """Whether a model that failed answers again: its smallest valid request, outside of any session."""
        try:
            for model, inputs in adapter.canary().items():
                await self._inference.infer(model, inputs, deadline=deadline)
        except LipSyncError:
            return False
        return True


def cross_fade(before: RgbImage, images: Sequence[RgbImage]) -> list[RgbImage]:
    """Let the first `CROSS_FADE_FRAMES` pictures grow out of the one shown before them."""
    faded = list(images)
    for index in range(min(CROSS_FADE_FRAMES, len(images))):
        share = (index + 1) / (CROSS_FADE_FRAMES + 1)
        faded[index] = np.asarray(cv2.addWeighted(images[index], share, before, 1.0 - share, 0.0), dtype=np.uint8)
    return faded
