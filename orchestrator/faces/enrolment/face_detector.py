"""Face detection: anchors, boxes and non-maximum suppression of BlazeFace.

They follow MediaPipe's face_detection_short_range.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage
from orchestrator.faces.enrolment.face_networks import DETECTOR_SIDE, face_networks

MIN_CONFIDENCE: Final = 0.5
"""Threshold for the whole picture: `min_score_thresh` of MediaPipe's graph."""

MIN_TILE_CONFIDENCE: Final = 0.7
"""Threshold for tiles and turned pictures: up to 88 searches, each a chance of an error."""

SAME_FACE_OVERLAP: Final = 0.3
"""Overlap (intersection over union) from which two boxes show the same face.

`min_suppression_threshold` of MediaPipe's graph.
"""

_ANCHOR_GRIDS: Final = ((16, 2), (8, 6))
"""Cells a side, and anchors in each cell.

face_detection_short_range.pbtxt: strides 8, 16, 16, 16, with two anchors a stride.
"""

_LOGIT_LIMIT: Final = 100.0
"""`score_clipping_thresh` of MediaPipe's graph."""

_RIGHT_EYE, _LEFT_EYE = 2, 3
"""Rows of the person's eyes in `Detection.points`; the right one is on the picture's left."""


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """Place of a face, in pixels of the searched picture."""

    points: NDArray[np.float64]
    """`[8, 2]`, x y.

    Top left and bottom right corner of the box, right eye, left eye, nose, mouth, right ear, left
    ear.
    """
    confidence: float
    """0..1."""

    @property
    def centre(self) -> NDArray[np.float64]:
        return np.asarray(self.points[:2].mean(axis=0))

    @property
    def side(self) -> float:
        """Longer side of the box, pixels."""
        return float((self.points[1] - self.points[0]).max())

    def scaled(self, scale: float) -> Detection:
        """Same face in a picture scaled by `scale`."""
        return Detection(self.points * scale, self.confidence)

    @property
    def upright(self) -> bool:
        """True for a tilt of less than 45 degrees."""
        return abs(self.tilt_rad) < math.pi / 4

    @property
    def tilt_rad(self) -> float:
        """Angle of the line between the eyes: 0 is upright, positive turns the head clockwise."""
        across = self.points[_LEFT_EYE] - self.points[_RIGHT_EYE]
        return math.atan2(across[1], across[0])


def detect_faces(image: RgbImage, level: int, *, turned: bool) -> list[Detection]:
    """Find the faces in an image, most confident first.

    The network sees 128 x 128 pixels. Level 0 is the whole image, level 1 are overlapping tiles
    half as large, level 2 tiles of a quarter. Heads tilted by more than about 45 degrees are found
    reliably only if `turned` also searches the image on its sides and upside down.
    """
    found = _detect_upright(image, level, MIN_TILE_CONFIDENCE if level else MIN_CONFIDENCE)
    for turns in (1, 2, 3) if turned else ():
        on_its_side = _detect_upright(np.rot90(image, turns), level, MIN_TILE_CONFIDENCE)
        found += [_turned_back(face, turns, image) for face in on_its_side]
    return distinct(found)


def distinct(faces: list[Detection]) -> list[Detection]:
    """Keep the most confident of the detections that show the same face."""
    kept: list[Detection] = []
    for face in sorted(faces, key=lambda face: -face.confidence):
        if all(_overlap(face, other) < SAME_FACE_OVERLAP for other in kept):
            kept.append(face)
    return kept


def _detect_upright(image: RgbImage, level: int, min_confidence: float) -> list[Detection]:
    """Find the faces on all tiles of a level, with at least `min_confidence`."""
    faces = merged([face for tile in _tiles(image, level) for face in _detect_in(image, tile)])
    return [face for face in faces if face.confidence >= min_confidence]


def _turned_back(face: Detection, turns: int, image: RgbImage) -> Detection:
    """Map a face found in `np.rot90(image, turns)` to pixels of the image."""
    points = face.points
    for turn in range(turns, 0, -1):
        width = image.shape[turn % 2]  # before this turn, which moved the right edge to the top
        points = np.stack((width - points[:, 1], points[:, 0]), axis=1)
    points[:2] = np.sort(points[:2], axis=0)
    return Detection(points, face.confidence)


def merged(detections: list[Detection]) -> list[Detection]:
    """Merge overlapping boxes into their mean, weighted by confidence.

    MediaPipe's weighted non-maximum suppression.
    """
    left = sorted(detections, key=lambda face: -face.confidence)
    faces: list[Detection] = []
    while left:
        same = [face for face in left if _overlap(left[0], face) > SAME_FACE_OVERLAP] or left[:1]
        points = np.average(
            [face.points for face in same], axis=0, weights=[face.confidence for face in same]
        )
        faces.append(Detection(points, left[0].confidence))
        left = [face for face in left if not any(face is other for other in same)]
    return faces


def resized(image: RgbImage, scale: float) -> RgbImage:
    """Shrink an image by averaging; a `scale` of 1 or more returns it unchanged."""
    return (
        image
        if scale >= 1.0
        else np.asarray(
            cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
    )


def _tiles(image: RgbImage, level: int) -> Iterator[tuple[int, int, int]]:
    """Squares (x, y, side) that cover the image and overlap by half.

    On level 0 it is one square of the image's longer side.
    """
    height, width = image.shape[:2]
    side = max(1, round(max(height, width) / 2**level))
    for y in _starts(height, side):
        for x in _starts(width, side):
            yield x, y, side


def _starts(length: int, side: int) -> list[int]:
    """Offsets of tiles so that neighbours share at least half of their length."""
    if length <= side:
        return [0]
    steps = math.ceil((length - side) / (side / 2))
    return [round(step * (length - side) / steps) for step in range(steps + 1)]


def _detect_in(image: RgbImage, tile: tuple[int, int, int]) -> list[Detection]:
    """Find faces in a square; what reaches beyond the image is black."""
    x, y, side = tile
    scale = side / DETECTOR_SIDE
    part = image[y : y + side, x : x + side]
    size = (max(1, round(part.shape[1] / scale)), max(1, round(part.shape[0] / scale)))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR)
    picture = np.zeros((DETECTOR_SIDE, DETECTOR_SIDE, 3), np.uint8)
    picture[: size[1], : size[0]] = small
    return [
        Detection(face.points * scale + (x, y), face.confidence)
        for face in _decoded(*face_networks().detect(picture))
    ]


def _decoded(boxes: NDArray[np.float64], logits: NDArray[np.float64]) -> list[Detection]:
    """Decode the network's output `[896, 16]`, `[896]`.

    x, y, width, height, then six key points, all relative to the anchor.
    """
    confidences = 1.0 / (1.0 + np.exp(-np.clip(logits, -_LOGIT_LIMIT, _LOGIT_LIMIT)))
    chosen = confidences >= MIN_CONFIDENCE
    points = boxes[chosen].reshape(-1, 8, 2)
    centres, halves = points[:, :1] + _ANCHORS[chosen, None], points[:, 1:2] / 2
    points = np.concatenate(
        (centres - halves, centres + halves, points[:, 2:] + _ANCHORS[chosen, None]), axis=1
    )
    return merged(
        [
            Detection(row, float(confidence))
            for row, confidence in zip(points, confidences[chosen], strict=True)
        ]
    )


def _overlap(a: Detection, b: Detection) -> float:
    """Intersection over union."""
    shared = np.prod(
        np.maximum(0.0, np.minimum(a.points[1], b.points[1]) - np.maximum(a.points[0], b.points[0]))
    )
    areas = [np.prod(face.points[1] - face.points[0]) for face in (a, b)]
    return float(shared / max(1e-9, sum(areas) - shared))


def _anchors() -> NDArray[np.float64]:
    """Centres `[896, 2]` of the anchors, in pixels of the network's input.

    All anchors have the size of the input (`fixed_anchor_size`).
    """
    grids = []
    for cells, anchors in _ANCHOR_GRIDS:
        middles = (np.arange(cells) + 0.5) * DETECTOR_SIDE / cells
        x, y = np.meshgrid(middles, middles)
        grids.append(np.repeat(np.stack((x.ravel(), y.ravel()), axis=1), anchors, axis=0))
    return np.concatenate(grids)


_ANCHORS: Final = _anchors()
