"""Lip gaps in decoded pictures, measured by the face mesh network.

The network is independent of the renderer that made the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.true_mouth import Curve
from orchestrator.core.types import RgbImage
from orchestrator.faces.enrolment.landmarks import mesh_of_square

_UPPER_LIP, _LOWER_LIP, _FOREHEAD, _CHIN, _NOSE = 13, 14, 10, 152, 168
_MIN_FOUND: Final = 0.95


def lip_gaps(frames: Sequence[RgbImage]) -> Curve:
    """Distance of the inner lips `[frames]`, relative to the height of the upper face.

    The jaw does not change that height. Every frame is measured alone, so that no smoothing of the
    detector shifts the curve. Frames without a face are interpolated; ValueError when more than
    one in twenty have none.
    """
    gaps = np.array([_gap(frame) for frame in frames])
    found = np.isfinite(gaps)
    if found.mean() < _MIN_FOUND:
        raise ValueError(f"a face was found in only {found.sum()} of {len(frames)} frames")
    return np.asarray(np.interp(np.arange(len(gaps)), np.flatnonzero(found), gaps[found]))


def _gap(frame: RgbImage) -> float:
    mesh = mesh_of_square(frame)
    if mesh is None:
        return float("nan")
    points = mesh[:, :2]
    down = points[_CHIN] - points[_FOREHEAD]
    down /= np.hypot(*down)
    upper_face = float((points[_NOSE] - points[_FOREHEAD]) @ down)
    return float((points[_LOWER_LIP] - points[_UPPER_LIP]) @ down) / max(1e-6, upper_face)
