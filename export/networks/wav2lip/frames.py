"""Upstream's way from face boxes and pictures to the network and back.

For comparison with its recorded outputs; the live path has `orchestrator.models.wav2lip.face`.
Source: Rudrabha/Wav2Lip, `inference.py`. Pictures are BGR uint8.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.models.wav2lip.face import FACE_SIZE

Picture = NDArray[np.uint8]

SMOOTHED_BOXES: Final = 5


class Box(NamedTuple):
    """Pixels of a frame, in upstream's recorded order; the ends are not part of the box."""

    top: int
    bottom: int
    left: int
    right: int


class Padding(NamedTuple):
    """Pixels added to a detected box; the defaults are upstream's."""

    top: int = 0
    bottom: int = 10
    left: int = 0
    right: int = 0


def padded(
    face: NDArray[np.int64], shape: tuple[int, ...], padding: Padding | None = None
) -> NDArray[np.int64]:
    """A detected face `[4]` grown by `padding` and clipped to a frame of `shape`.

    Left, top, right, bottom.
    """
    more = padding or Padding()
    left, top, right, bottom = (int(value) for value in face)
    return np.array(
        (
            max(0, left - more.left),
            max(0, top - more.top),
            min(shape[1], right + more.right),
            min(shape[0], bottom + more.bottom),
        )
    )


def smoothed(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Boxes `[n, 4]`, each the mean of itself and the next four, truncated.

    As in upstream: in place, so that the windows near the end average smoothed boxes; and with
    fewer boxes than a window the slice's start is negative and counts from the end.
    """
    smooth = boxes.copy()
    for index in range(len(smooth)):
        begin = index if index + SMOOTHED_BOXES <= len(smooth) else len(smooth) - SMOOTHED_BOXES
        smooth[index] = smooth[begin : begin + SMOOTHED_BOXES if begin >= 0 else None].mean(axis=0)
    return smooth


def network_faces(frames: list[Picture], boxes: list[Box]) -> NDArray[np.float32]:
    """Generator inputs `[n, 6, 96, 96]`, 0..1.

    The crop with its lower half zeroed, then the crop.
    """
    cuts = (
        frame[box.top : box.bottom, box.left : box.right]
        for frame, box in zip(frames, boxes, strict=True)
    )
    crops = np.stack([_resized(cut, (FACE_SIZE, FACE_SIZE)) for cut in cuts])
    masked = crops.copy()
    masked[:, FACE_SIZE // 2 :] = 0
    faces: NDArray[np.float32] = (
        (np.concatenate((masked, crops), axis=3) / 255.0).transpose(0, 3, 1, 2).astype(np.float32)
    )
    return faces


def pasted(frame: Picture, patch: NDArray[np.float32], box: Box) -> Picture:
    """A copy of `frame` with the generator's `patch` over the whole box.

    `patch [3, 96, 96]`, 0..1, is truncated to bytes.
    """
    result = frame.copy()
    picture = (patch.transpose(1, 2, 0) * 255.0).astype(np.uint8)
    result[box.top : box.bottom, box.left : box.right] = _resized(
        picture, (box.right - box.left, box.bottom - box.top)
    )
    return result


def _resized(picture: Picture, size: tuple[int, int]) -> Any:
    return cv2.resize(picture, size)
