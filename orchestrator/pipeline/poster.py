"""The picture that a viewer sees before the first frame: the face as the first frame will show it,
from the last resort.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from orchestrator.core.types import MelSpec, RgbImage
from orchestrator.models.base import FeatureWindows, ModelSpec
from orchestrator.video.encoder import JpegEncoder

POSTER_QUALITY: Final = 85
"""JPEG quality: it stands still, so it is looked at longer than a frame."""


def windows_at_rest(spec: ModelSpec, idle_s: float) -> FeatureWindows:
    """One window of silence at this time of the session."""
    columns = (
        spec.features.n_mels if isinstance(spec.features, MelSpec) else spec.features.hop_length
    )
    return FeatureWindows(
        rows=np.zeros((1, spec.window.frames, columns), np.float32),
        slot=np.zeros(1, np.int64),
        phase=np.zeros(1, np.float32),
        idle_s=np.array([idle_s]),
        silent=np.ones(1, np.bool_),
    )


def poster_jpeg(image: RgbImage) -> bytes:
    """The picture `[size, size, 3]` as JPEG."""
    return JpegEncoder(POSTER_QUALITY, 1.0, None).encode(image, force_keyframe=True).data
