"""Measures lips in decoded pictures with MediaPipe's face mesh, which knows nothing of how they were drawn."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from benchmarks.true_mouth import Curve
from orchestrator.types import RgbImage

_UPPER_LIP, _LOWER_LIP, _FOREHEAD, _CHIN, _NOSE = 13, 14, 10, 152, 168
_MIN_FOUND: Final = 0.95


def lip_gaps(frames: Sequence[RgbImage]) -> Curve:
    """The inner lips' distance in each frame as a share of the upper face's height (which the jaw does not change).

    Every frame is looked at alone, so no smoothing of the detector shifts the curve. Frames without a face are
    interpolated; ValueError when more than one in twenty have none.
    """
    with _face_mesh() as mesh:
        gaps = np.array([_gap(mesh.process(frame), frame) for frame in frames])
    found = np.isfinite(gaps)
    if found.mean() < _MIN_FOUND:
        raise ValueError(f"a face was found in only {found.sum()} of {len(frames)} frames")
    return np.interp(np.arange(len(gaps)), np.flatnonzero(found), gaps[found])


def _gap(answer: Any, frame: RgbImage) -> float:
    if not answer.multi_face_landmarks:
        return float("nan")
    height, width = frame.shape[:2]
    points = np.array([(p.x * width, p.y * height) for p in answer.multi_face_landmarks[0].landmark])
    down = points[_CHIN] - points[_FOREHEAD]
    down /= np.hypot(*down)
    upper_face = float((points[_NOSE] - points[_FOREHEAD]) @ down)
    return float((points[_LOWER_LIP] - points[_UPPER_LIP]) @ down) / max(1e-6, upper_face)


@contextlib.contextmanager
def _face_mesh() -> Iterator[Any]:
    """MediaPipe writes to stderr past every logging setting, so its descriptor is turned away meanwhile."""
    terminal = os.dup(2)
    with open(os.devnull, "w") as nowhere, warnings.catch_warnings():  # noqa: PTH123
        warnings.simplefilter("ignore")
        os.dup2(nowhere.fileno(), 2)
        try:
            from mediapipe.python.solutions import face_mesh  # type: ignore[import-untyped]

            with face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True, max_num_faces=1) as mesh:
                yield mesh
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
