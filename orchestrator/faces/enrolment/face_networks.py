"""Face detector and face mesh networks of MediaPipe's `face_landmarker.task`, run by OpenCV."""

from __future__ import annotations

import functools
import hashlib
import io
import threading
import zipfile
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.downloads import face_landmarker
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import RgbImage

SHA256: Final = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"
"""Checksum of the float16 file, version 1, whose anchors and outputs this module knows."""

DETECTOR_SIDE: Final = 128
MESH_SIDE: Final = 256
MESH_POINTS: Final = 478

_DETECTOR: Final = "face_detector.tflite"
_MESH: Final = "face_landmarks_detector.tflite"


class FaceNetworks:
    """Detector and mesh network.

    OpenCV's networks keep the input between calls, so one thread runs them at a time.
    """

    def __init__(self, task: bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(task)) as bundle:
            self._detector, self._mesh = (
                _network(bundle.read(name)) for name in (_DETECTOR, _MESH)
            )
        self._lock = threading.Lock()

    def detect(self, picture: RgbImage) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Run the detector on `[128, 128, 3]`.

        Returns 16 numbers per anchor `[896, 16]`, in pixels, and logits `[896]`.
        """
        blob = cv2.dnn.blobFromImage(picture, 1 / 127.5, mean=(127.5, 127.5, 127.5))
        boxes, logits = self._run(self._detector, blob, ("regressors", "classificators"))
        return boxes[0], logits.ravel()

    def mesh(self, picture: RgbImage) -> tuple[NDArray[np.float64], float]:
        """Run the mesh on `[256, 256, 3]`.

        Returns points `[478, 3]` in pixels of the input, and the logit of a face being present.
        """
        blob = cv2.dnn.blobFromImage(picture, 1 / 255)
        points, presence = self._run(self._mesh, blob, ("Identity", "Identity_1"))
        return points.reshape(MESH_POINTS, 3), float(presence.item())

    def _run(
        self, network: cv2.dnn.Net, blob: cv2.typing.MatLike, outputs: tuple[str, ...]
    ) -> list[NDArray[np.float64]]:
        with self._lock:
            network.setInput(blob)
            return [np.array(output, np.float64) for output in network.forward(outputs)]


@functools.cache
def face_networks() -> FaceNetworks:
    """Load the networks at the first use.

    Raises MODEL_LOAD_FAILED where the file is missing or not the known one.
    """
    return load_networks(face_landmarker())


def load_networks(path: Path) -> FaceNetworks:
    """Load a `face_landmarker.task`; MODEL_LOAD_FAILED where its checksum is not `SHA256`."""
    task = path.read_bytes()
    if hashlib.sha256(task).hexdigest() != SHA256:
        message = f"{path} is damaged or of another version: delete it and run `lipsync fetch`"
        raise LipSyncError(
            LipSyncErrorCode.MODEL_LOAD_FAILED,
            message,
            recoverable=False,
            details={"file": path.name},
        )
    return FaceNetworks(task)


def _network(model: bytes) -> cv2.dnn.Net:
    return cv2.dnn.readNetFromTFLite(np.frombuffer(model, np.uint8))
