"""A face prepared for Wav2Lip: the crop that the network repaints, and its invisible paste."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import FaceModel, RgbImage
from orchestrator.models.static.adapter import RestingFace, prepare_resting_face
from orchestrator.rendering.build_face_maps import frame_points
from orchestrator.rendering.landmarks import FACE_OVAL, pick

FACE_SIZE: Final = 96
"""Side of the network's image in pixels; it generates the lower half."""

CHIN_MARGIN: Final = 0.06
"""Room below the chin, in box heights, for an opening jaw.

Upstream has 10 pixels under a face of some 170.
"""

FADE_IN: Final = (0.44, 0.58)
"""Start and end of the fade-in of the patch, in box heights from above.

From mid nose to above the upper lip.
"""

SIDE_FADE: Final = 0.14
CHIN_FADE: Final = 0.05
"""Widths of the fades at the sides (box widths) and below (box heights).

They hide the patch's own border and show all of the chin.
"""

OVAL_MARGIN: Final = (1.06, 1.10)
"""Width and height of the shown part relative to the face's oval.

Room for a jaw that drops. Hair and collar beside it keep their sharpness.
"""

OVAL_FADE: Final = 0.045
"""Standard deviation of the fade along the oval, in box widths."""


@dataclass(frozen=True, slots=True)
class FaceBox:
    """Box in pixels of an image; `bottom` and `right` are the first ones outside."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.right - self.left


@dataclass(frozen=True, slots=True, eq=False)
class Wav2LipFace:
    """One face at one size."""

    head: RestingFace
    """Renders the face at rest, blinking and swaying.

    The network's crop is cut from these images and pasted back into them. The head moves by a
    hundredth of the box at most, so the box stays fixed.
    """
    box: FaceBox
    patch_weight: NDArray[np.float32]
    """`[box height, box width]`, weight of the patch, 0..1."""

    @property
    def nbytes(self) -> int:
        """All arrays."""
        return self.head.nbytes + self.patch_weight.nbytes


def prepare_wav2lip_face(face: FaceModel, size: int) -> Wav2LipFace:
    """ValueError when the landmarks enclose no face in the picture."""
    height, width = face.neutral_pose.shape[:2]
    points = frame_points(face.landmarks(), width, height, size)
    box = face_box(points, size, size)
    oval = pick(points, FACE_OVAL) - (box.left, box.top)
    return Wav2LipFace(
        prepare_resting_face(face, size), box, feathered_mask(box.height, box.width, oval)
    )


def face_box(landmarks: NDArray[np.floating[Any]], height: int, width: int) -> FaceBox:
    """The box a face detector would return, from the extent of the face mesh.

    Cut to an image of `height` x `width`.
    """
    left, top = np.floor(landmarks.min(axis=0))
    right, bottom = np.ceil(landmarks.max(axis=0)) + 1
    lower = bottom + round((bottom - top) * CHIN_MARGIN)
    box = FaceBox(
        max(0, int(top)), min(height, int(lower)), max(0, int(left)), min(width, int(right))
    )
    if min(box.height, box.width) < FACE_SIZE // 4:
        raise ValueError(
            f"landmarks: a face of {box.width} x {box.height} pixels in the picture, "
            f"expected at least {FACE_SIZE // 4}"
        )
    return box


def network_crop(picture: RgbImage, box: FaceBox) -> RgbImage:
    """The face `[96, 96, 3]` for the network: bilinear without smoothing, as in its training.

    The faces of its training were hardly larger. A face of more than twice that size is averaged:
    sampling would skip pixels.
    """
    way = cv2.INTER_AREA if min(box.height, box.width) > 2 * FACE_SIZE else cv2.INTER_LINEAR
    crop = cv2.resize(
        picture[box.top : box.bottom, box.left : box.right],
        (FACE_SIZE, FACE_SIZE),
        interpolation=way,
    )
    return np.asarray(crop, np.uint8)


def feathered_mask(height: int, width: int, oval: NDArray[np.float64]) -> NDArray[np.float32]:
    """Weight of a patch, `[height, width]`: 1 on mouth and chin.

    0 at the border, above the nose and beside the face. `oval` `[n, 2]` is the outline of the face
    in pixels of the box. The upper half stays the image's own: the network only copies it, at a
    fraction of the resolution.
    """
    y, x = _pixel_centres(height), _pixel_centres(width)
    rows = _smooth_step((y - FADE_IN[0]) / (FADE_IN[1] - FADE_IN[0])) * _smooth_step(
        (1.0 - y) / CHIN_FADE
    )
    columns = _smooth_step(np.minimum(x, 1.0 - x) / SIDE_FADE)
    centre = oval.mean(axis=0)
    outline = np.rint(centre + (oval - centre) * OVAL_MARGIN).astype(np.int32)
    inside = cv2.fillPoly(np.zeros((height, width), np.float32), [outline], (1.0,))
    soft = cv2.GaussianBlur(inside, (0, 0), OVAL_FADE * width, borderType=cv2.BORDER_REPLICATE)
    mask: NDArray[np.float32] = (np.outer(rows, columns) * soft).astype(np.float32)
    return mask


def _pixel_centres(count: int) -> NDArray[np.float32]:
    """Centres of `count` pixels along an axis of length 1."""
    centres: NDArray[np.float32] = (
        np.arange(count, dtype=np.float32) + np.float32(0.5)
    ) / np.float32(count)
    return centres


def paste_back(
    face: Wav2LipFace, picture: RgbImage, patch: NDArray[np.uint8], share: float = 1.0
) -> None:
    """Paste the network's `patch` `[96, 96, 3]` (RGB) into `picture` `[h, w, 3]`.

    With a smaller share it is translucent.
    """
    box, first = face.box, int(face.box.height * FADE_IN[0])  # above it nothing of the patch shows
    large = cv2.resize(patch, (box.width, box.height), interpolation=cv2.INTER_CUBIC)[first:]
    region = picture[box.top + first : box.bottom, box.left : box.right]
    weight = face.patch_weight[first:] * np.float32(share)
    region[:] = cv2.blendLinear(large, np.ascontiguousarray(region), weight, 1.0 - weight)


def _smooth_step(t: NDArray[np.float32]) -> NDArray[np.float32]:
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)
