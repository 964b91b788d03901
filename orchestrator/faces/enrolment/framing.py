"""Framing of the enrolled picture like a passport photo.

The head is upright and centred, with shoulders in view where the photo has them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage

FULL_SIDE: Final = 512
"""Side of the enrolled picture where the photo has that many pixels."""

MIN_SIDE: Final = 256
"""Smallest enrolled picture: the requirement of wav2lip and audio2head."""

UPRIGHT_WITHIN_DEG: Final = 5.0
"""Tilt up to which the head is left as it is; a stronger one is turned upright."""

CROWN_ABOVE_FACE: Final = 0.30
"""Height of the crown above the topmost mesh point, in lengths from that point to the chin."""

_CROWN_AT: Final = 0.13
"""Place of the crown, as a fraction of the picture's height; the chin is then at 0.75."""

_SIDES: Final = (2.1, 1.95, 1.8, 1.65, 1.5)
"""Sides of the crop in face lengths, best first.

The head takes 62 % of the first one's height, 87 % of the last one's.
"""

_SHIFTS: Final = (-0.15, -0.10, -0.05, 0.0, 0.05, 0.10, 0.15)
"""Shifts of the crop from its ideal place, in sides, to stay on the photo."""

_MIN_MARGIN: Final = 0.02
"""Smallest margin above the crown and below the chin, in sides."""

_TOP, _CHIN, _LEFT_CHEEK, _RIGHT_CHEEK, _LEFT_EYE, _RIGHT_EYE = 10, 152, 234, 454, 33, 263


@dataclass(frozen=True, slots=True, eq=False)
class Framing:
    """Square cut out of a photo."""

    corner: NDArray[np.float64]
    """Upper left corner in the photo, pixels."""
    across: NDArray[np.float64]
    """Unit vector along its upper edge, in the photo."""
    side: float
    """Pixels of the photo."""
    uncovered: float
    """Share of its area that lies off the photo, 0..1."""
    face_length: float
    """Topmost mesh point to chin, pixels of the photo."""

    @property
    def size(self) -> int:
        """Side of the resulting picture.

        `FULL_SIDE`, or what the photo provides in steps of 16, at least `MIN_SIDE`.
        """
        return int(np.clip(round(self.side * 1.1 / 16) * 16, MIN_SIDE, FULL_SIDE))

    def to_picture(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map points of the photo `[n, 2]` to pixels of the picture."""
        axes = np.column_stack((self.across, (-self.across[1], self.across[0])))
        moved: NDArray[np.float64] = (points - self.corner) @ axes * (self.size / self.side)
        return moved


def frame_head(points: NDArray[np.float64], photo_size: tuple[int, int]) -> Framing:
    """Choose the best square for the mesh `[478, 2 or 3]` in a photo of (width, height).

    Staying on the photo comes first, the ideal place second.
    """
    flat = points[:, :2]
    across = _across(flat)
    down = np.array((-across[1], across[0]))
    length = float(np.linalg.norm(flat[_CHIN] - flat[_TOP]))
    middle = (flat[_LEFT_CHEEK] + flat[_RIGHT_CHEEK] + flat[_LEFT_EYE] + flat[_RIGHT_EYE]) / 4
    crown = middle + down * float((flat[_TOP] - middle) @ down - CROWN_ABOVE_FACE * length)
    photo = np.array(((0, 0), (photo_size[0], 0), photo_size, (0, photo_size[1])), np.float32)

    def framing(factor: float, right: float, lower: float) -> Framing:
        side = factor * length
        corner = crown + across * side * (right - 0.5) + down * side * (lower - _crown_at(factor))
        return Framing(corner, across, side, _uncovered(corner, across, side, photo), length)

    choices = (
        (framing(*choice), choice)
        for choice in product(_SIDES, _SHIFTS, _SHIFTS)
        if _shows_head(*choice)
    )
    return min(choices, key=lambda item: _cost(*item))[0]


def crown_of(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Top of the head estimated from the mesh, pixels `[2]`."""
    flat = points[:, :2]
    crown: NDArray[np.float64] = flat[_TOP] + CROWN_ABOVE_FACE * (flat[_TOP] - flat[_CHIN])
    return crown


def cut_out(photo: RgbImage, framing: Framing) -> RgbImage:
    """Cut out the square as `[size, size, 3]`; beyond the photo its edge continues, blurred."""
    scale = framing.size / framing.side
    shrink = min(1.0, scale)
    small = (
        cv2.resize(photo, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        if shrink < 1.0
        else photo
    )
    across, corner = framing.across * shrink / scale, framing.corner * shrink
    if scale <= 1.0 and across[1] == 0.0:
        corner = np.rint(corner)  # whole pixels: nothing is interpolated a second time
    matrix = np.column_stack((across, (-across[1], across[0]), corner))
    return _warp(np.asarray(small, np.uint8), matrix, framing.size)


def _warp(photo: RgbImage, matrix: NDArray[np.float64], size: int) -> RgbImage:
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    picture = cv2.warpAffine(
        photo, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    covered = cv2.warpAffine(
        np.full(photo.shape[:2], 255, np.uint8), matrix, (size, size), flags=cv2.WARP_INVERSE_MAP
    )
    if covered.min() == 255:
        return np.asarray(picture, np.uint8)
    soft = cv2.GaussianBlur(
        cv2.erode(covered, np.ones((5, 5), np.uint8)).astype(np.float32) / 255.0, (0, 0), 2.0
    )[..., None]
    blurred = cv2.GaussianBlur(picture, (0, 0), size * 0.03)
    return np.asarray(np.rint(picture * soft + blurred * (1.0 - soft)), np.uint8)


def _across(flat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Horizontal of the picture: the photo's, or the head's where it is tilted too far."""
    eyes = flat[_RIGHT_EYE] - flat[_LEFT_EYE]
    if abs(math.degrees(math.atan2(eyes[1], eyes[0]))) <= UPRIGHT_WITHIN_DEG:
        return np.array((1.0, 0.0))
    unit: NDArray[np.float64] = eyes / np.linalg.norm(eyes)
    return unit


def _crown_at(factor: float) -> float:
    """Crown position for a crop factor: space above and below the head shrinks alike."""
    head = (1.0 + CROWN_ABOVE_FACE) / factor
    return _CROWN_AT * (1.0 - head) / (1.0 - (1.0 + CROWN_ABOVE_FACE) / _SIDES[0])


def _shows_head(factor: float, right: float, lower: float) -> bool:
    """True if crown and chin stay in the picture with a margin."""
    crown = _crown_at(factor) - lower
    return crown >= _MIN_MARGIN and crown + (1.0 + CROWN_ABOVE_FACE) / factor <= 1.0 - _MIN_MARGIN


def _uncovered(
    corner: NDArray[np.float64],
    across: NDArray[np.float64],
    side: float,
    photo: NDArray[np.float32],
) -> float:
    right, down = across * side, np.array((-across[1], across[0])) * side
    square = np.array((corner, corner + right, corner + right + down, corner + down), np.float32)
    shared, _ = cv2.intersectConvexConvex(square, photo)
    return max(0.0, 1.0 - shared / side**2)


def _cost(framing: Framing, choice: tuple[float, float, float]) -> float:
    """Cost of a crop.

    One percent off the photo costs as much as a shift of a tenth of the side, or a side smaller by
    a fifth of the face.
    """
    factor, right, lower = choice
    return 10.0 * framing.uncovered + abs(right) + abs(lower) + 0.5 * (_SIDES[0] - factor)
