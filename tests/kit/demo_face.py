"""The shipped portrait as an enrolled face, also small in a wide photo or with a mark, and windows
to ask an adapter with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.core.types import FaceModel, Keypoint, Resolution
from orchestrator.faces.storage.face_format import parse_face_model
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, face_prefix
from orchestrator.models.base import FeatureWindows, ModelSpec

FPS = 20.0
SAMPLE_RATE_HZ = 16_000


def demo_face() -> FaceModel:
    """As the service loads it."""
    folder = SHIPPED_FACES / face_prefix(DEMO_USER, DEMO_FACE)
    return parse_face_model(
        DEMO_USER, DEMO_FACE, {file.name: file.read_bytes() for file in folder.iterdir()}, "1"
    )


def small_face(side: int = 400, left: int = 300, top: int = 180) -> FaceModel:
    """The same portrait as a part of `side` pixels of a photo of 900 x 700."""
    face = demo_face()
    shrunk = cv2.resize(face.neutral_pose, (side, side), interpolation=cv2.INTER_AREA)
    photo = cv2.copyMakeBorder(
        shrunk, top, 700 - side - top, left, 900 - side - left, cv2.BORDER_REPLICATE
    )
    factor = side / face.neutral_pose.shape[0]
    points = tuple(
        Keypoint(point.x * factor + left, point.y * factor + top) for point in face.keypoints
    )
    return replace(
        face,
        id="small",
        neutral_pose=np.asarray(photo, np.uint8),
        resolution=Resolution(900, 700),
        keypoints=points,
    )


def frame_windows(
    spec: ModelSpec,
    silent: Sequence[bool],
    first_frame: int = 0,
    rows: NDArray[np.float32] | None = None,
    columns: int = 80,
) -> FeatureWindows:
    """Windows of consecutive frames of 20 fps; silence where no rows are given."""
    centres_s = (first_frame + np.arange(len(silent)) + 0.5) / FPS
    hops = centres_s * SAMPLE_RATE_HZ / spec.features.hop_length
    shape = (len(silent), spec.window.frames, columns)
    return FeatureWindows(
        rows=np.zeros(shape, np.float32) if rows is None else rows,
        slot=np.floor(hops).astype(np.int64),
        phase=(hops % 1.0).astype(np.float32),
        idle_s=centres_s,
        silent=np.array(silent, np.bool_),
    )
