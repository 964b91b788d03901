"""Faces, motion rows and a measure of the mouth's opening, for the tests of the renderer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage
from orchestrator.rendering.face_maps import FaceMaps
from orchestrator.rendering.face_renderer import FaceRenderer
from orchestrator.rendering.motion import MOTION_PARAMETERS, VISEMES


@dataclass(frozen=True)
class Face:
    """A picture and its landmarks."""

    image: RgbImage
    landmarks: NDArray[np.float32]


def motion(viseme: str = "sil", **values: float) -> NDArray[np.float32]:
    """A motion row: a viseme, and single parameters by name."""
    row = np.zeros(len(MOTION_PARAMETERS), dtype=np.float32)
    row[: len(VISEMES[viseme])] = VISEMES[viseme]
    for name, value in values.items():
        row[MOTION_PARAMETERS.index(name)] = value
    return row


def green_inside(maps: FaceMaps) -> FaceRenderer:
    """A renderer whose inner mouth is pure green, so that every pixel of it can be told from lips
    and skin.
    """
    green = np.broadcast_to(np.array([0, 255, 0], dtype=np.uint8), maps.cavity.shape).copy()
    hidden = np.zeros_like(maps.upper_teeth)
    return FaceRenderer(replace(maps, cavity=green, upper_teeth=hidden, lower_jaw=hidden))


def inside(frame: RgbImage) -> NDArray[np.bool_]:
    """Where a frame of `green_inside` shows the inner mouth."""
    red, green, blue = (frame[..., channel].astype(int) for channel in range(3))
    return (green > red + 25) & (green > blue + 25)
