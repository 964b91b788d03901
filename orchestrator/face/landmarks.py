"""Faces and their mesh points in a picture: the only file that knows MediaPipe, which is loaded at the first use."""

from __future__ import annotations

import math
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import LipSyncError, LipSyncErrorCode
from orchestrator.types import RgbImage

DETECTION_SIDE: Final = 1280
"""Photos are searched at this size at most: MediaPipe's detectors look at 192 pixels anyway."""

MESH_SIDE: Final = 768
"""The mesh is fitted in at most this many pixels a side; its network looks at 192."""

MIN_DETECTION_CONFIDENCE: Final = 0.5
MAX_FACES: Final = 5
"""More than this in one photo need not be counted: one must dominate."""

SAME_FACE_OVERLAP: Final = 0.3
"""Boxes that share more than this of their union are one face seen by both detectors."""

_CONTEXT: Final = 2.0
"""The mesh is fitted inside an upright square this many times the face's box."""

_NOISE: Final = ("INFO: Created TensorFlow", "WARNING: All log messages before absl", "W0000 ", "I0000 ")
_mediapipe_lock: Final = threading.Lock()


Mesh: TypeAlias = NDArray[np.float64]
"""The 478 points of a face mesh `[478, 3]`: x y z in pixels, z towards the back."""


@dataclass(frozen=True, slots=True)
class _Box:
    """Where a face is, in pixels, and how sure the detector was (0..1)."""

    x: float
    y: float
    width: float
    height: float
    confidence: float
    tilt_rad: float
    """Angle of the line from one eye to the other; 0 is upright, positive turns the head clockwise."""

    @property
    def area(self) -> float:
        return self.width * self.height


def find_faces(image: RgbImage) -> list[Mesh]:
    """The meshes of all faces, largest first; both the detector for near faces and the one for distant ones are asked."""
    scale = min(1.0, DETECTION_SIDE / max(image.shape[:2]))
    if round(scale * min(image.shape[:2])) < 1:
        return []  # a line
    square = _pad_to_square(_resized(image, scale))
    with _quiet_mediapipe() as solutions:
        found = [box for near in (0, 1) for box in _detect(solutions, square, near)]
    boxes = sorted(_without_doubles(found), key=lambda box: -box.area)[:MAX_FACES]
    large = [replace(b, x=b.x / scale, y=b.y / scale, width=b.width / scale, height=b.height / scale) for b in boxes]
    meshes = [mesh for box in large if (mesh := _mesh_in(image, box)) is not None]
    return sorted(meshes, key=lambda mesh: -extent(mesh))


def extent(mesh: Mesh) -> float:
    """How large a face is: the area in pixels of the box around its mesh."""
    return float(np.prod(np.ptp(mesh[:, :2], axis=0)))


def _mesh_in(image: RgbImage, box: _Box) -> Mesh | None:
    """The mesh of the face in `box`, in pixels of the image; None when no mesh fits, so that it was no face."""
    side = max(8, round(_CONTEXT * max(box.width, box.height)))
    shrink = max(1.0, side / MESH_SIDE)
    across = np.array((math.cos(box.tilt_rad), math.sin(box.tilt_rad)))
    axes = np.stack((across, (-across[1], across[0])))
    corner = np.array((box.x + box.width / 2, box.y + box.height / 2)) - axes.sum(axis=0) * side / 2
    patch = cv2.warpAffine(image, np.column_stack((axes.T, corner)), (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    points = mesh_of_square(_resized(np.asarray(patch, np.uint8), 1.0 / shrink))
    if points is None:
        return None
    points *= shrink
    return np.column_stack((points[:, :2] @ axes + corner, points[:, 2]))


def mesh_of_square(image: RgbImage) -> Mesh | None:
    """The mesh of the one face in a square picture; None when no mesh fits."""
    with _quiet_mediapipe() as solutions, solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=True) as mesh:
        faces = mesh.process(image).multi_face_landmarks
    if not faces:
        return None
    points: Mesh = np.array([(point.x, point.y, point.z) for point in faces[0].landmark], np.float64)
    return points * image.shape[0]


def _detect(solutions: Any, square: RgbImage, model: int) -> list[_Box]:
    side = square.shape[0]
    with solutions.face_detection.FaceDetection(model_selection=model, min_detection_confidence=MIN_DETECTION_CONFIDENCE) as detector:
        detections = detector.process(square).detections or ()
    return [_box(detection.location_data, float(detection.score[0]), side) for detection in detections]


def _box(location: Any, confidence: float, side: int) -> _Box:
    """The detector's first two key points are the eyes, the one on the picture's left first."""
    box, (left, right, *_) = location.relative_bounding_box, location.relative_keypoints
    tilt_rad = math.atan2(right.y - left.y, right.x - left.x)
    return _Box(box.xmin * side, box.ymin * side, box.width * side, box.height * side, confidence, tilt_rad)


def _without_doubles(boxes: list[_Box]) -> list[_Box]:
    kept: list[_Box] = []
    for box in sorted(boxes, key=lambda box: -box.confidence):
        if all(_overlap(box, other) < SAME_FACE_OVERLAP for other in kept):
            kept.append(box)
    return kept


def _overlap(a: _Box, b: _Box) -> float:
    """Intersection over union."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a.area + b.area - shared)


def _resized(image: RgbImage, scale: float) -> RgbImage:
    return image if scale >= 1.0 else np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _pad_to_square(image: RgbImage) -> RgbImage:
    """Black on the right and below: MediaPipe projects points correctly only for square input."""
    height, width = image.shape[:2]
    side = max(height, width)
    return np.asarray(cv2.copyMakeBorder(image, 0, side - height, 0, side - width, cv2.BORDER_CONSTANT), np.uint8)


@contextmanager
def _quiet_mediapipe() -> Iterator[Any]:
    """`mediapipe.solutions`, for one thread at a time, without the lines its C++ side writes past every logging setting."""
    with _mediapipe_lock, _filtered_stderr(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import mediapipe  # type: ignore[import-untyped]
        except ImportError as error:
            raise _not_installed() from error
        yield mediapipe.solutions


def _not_installed() -> LipSyncError:
    message = "enrolling a photo needs MediaPipe, which is not installed: run `make install` or `pip install 'lipsync-service[enroll]'`"
    return LipSyncError(LipSyncErrorCode.MODEL_LOAD_FAILED, message, recoverable=False, details={"package": "mediapipe"})


@contextmanager
def _filtered_stderr() -> Iterator[None]:
    """Hold back what is written to file descriptor 2, then pass on all but MediaPipe's own noise: other threads' logs survive."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        terminal = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            held.seek(0)
            kept = [line for line in held if not line.decode(errors="replace").startswith(_NOISE)]
            os.write(2, b"".join(kept))
