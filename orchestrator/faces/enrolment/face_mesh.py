"""Face mesh: crop a square around a detected face, run the network, map the points back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage
from orchestrator.faces.enrolment.face_detector import Detection, resized
from orchestrator.faces.enrolment.face_networks import MESH_SIDE, face_networks

MIN_PRESENCE: Final = 0.5
"""`min_face_presence_confidence` of MediaPipe's FaceLandmarker."""

_SQUARE_PER_FACE: Final = 1.5
"""Side of the square over the longer side of the face.

MediaPipe's face_landmarker_graph and face_landmarks_detector_graph.
"""

_MAX_PASSES: Final = 6
_MIN_MOVEMENT: Final = 0.02
"""Movement at which cropping stops: share of the square's side, or radians.

The square is cropped anew around each mesh, as MediaPipe does between the frames of a video.
Turned, scaled and moved copies of a photo then give the same points to 0.3 pixels of a face 256
wide. MediaPipe's single pass for photos gives 0.9 pixels.
"""

_RIGHT_EYE, _LEFT_EYE = 33, 263
"""Mesh points of the outer eye corners, which define the tilt."""

Mesh: TypeAlias = NDArray[np.float64]
"""The 478 points of a face mesh `[478, 3]`: x y z in pixels, z towards the back."""


@dataclass(frozen=True, slots=True, eq=False)
class Square:
    """A tilted square in a picture, in pixels."""

    centre: NDArray[np.float64]
    side: float
    tilt_rad: float

    @property
    def axes(self) -> NDArray[np.float64]:
        """Unit vectors `[2, 2]` to the right and down in the square."""
        across = (math.cos(self.tilt_rad), math.sin(self.tilt_rad))
        return np.array((across, (-across[1], across[0])))


def fit_mesh(image: RgbImage, face: Detection) -> Mesh | None:
    """Fit the mesh to a detected face, in pixels of the image; None without a face."""
    square = Square(face.centre, _SQUARE_PER_FACE * face.side, face.tilt_rad)
    for _ in range(_MAX_PASSES):
        mesh, presence = _mesh_in(image, square)
        before, square = square, _square_around(mesh)
        if _moved(before, square) < _MIN_MOVEMENT:
            break
    return mesh if presence >= MIN_PRESENCE else None


def _moved(before: Square, after: Square) -> float:
    """Largest movement: centre and side as shares of the side, tilt in radians."""
    shift = np.hypot(*(after.centre - before.centre)) / before.side
    tilt_rad = math.remainder(after.tilt_rad - before.tilt_rad, math.tau)
    return max(float(shift), abs(after.side / before.side - 1.0), abs(tilt_rad))


def _mesh_in(image: RgbImage, square: Square) -> tuple[Mesh, float]:
    """Mesh in pixels of the image, and the network's confidence in a face, 0..1."""
    points, logit = face_networks().mesh(_cut_out(image, square))
    points *= square.side / MESH_SIDE
    mesh = np.column_stack(
        ((points[:, :2] - square.side / 2) @ square.axes + square.centre, points[:, 2])
    )
    return mesh, 1.0 / (1.0 + math.exp(-logit))


def _square_around(mesh: Mesh) -> Square:
    eyes = mesh[_LEFT_EYE, :2] - mesh[_RIGHT_EYE, :2]
    level = Square(np.zeros(2), 0.0, math.atan2(eyes[1], eyes[0]))
    along = mesh[:, :2] @ level.axes.T
    low, high = along.min(axis=0), along.max(axis=0)
    return Square(
        (low + high) / 2 @ level.axes, _SQUARE_PER_FACE * float((high - low).max()), level.tilt_rad
    )


def _cut_out(image: RgbImage, square: Square) -> RgbImage:
    """Crop the square as the network's input `[256, 256, 3]`; beyond the image its edge repeats."""
    shrink = min(1.0, MESH_SIDE / square.side)
    corner = square.centre - square.axes.sum(axis=0) * square.side / 2
    matrix = np.column_stack((square.axes.T * square.side / MESH_SIDE, corner + 0.5)) * shrink
    matrix[:, 2] -= 0.5
    picture = cv2.warpAffine(
        resized(image, shrink),
        matrix,
        (MESH_SIDE, MESH_SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(picture, np.uint8)
