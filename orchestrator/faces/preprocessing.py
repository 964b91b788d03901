"""Aligned faces for networks: cut out and turned upright."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel, RgbImage
from orchestrator.faces.enrolment.framing import cut_out, frame_head


@dataclass(frozen=True, slots=True, eq=False)
class PreprocessedFace:
    """Aligned face for networks: upright, centred, with margins."""

    aligned_face: RgbImage
    """`[side, side, 3]`, 256 to 512 pixels a side."""
    landmarks: NDArray[np.float32]
    """`[n, 2]`, pixels of `aligned_face`."""
    embedding: tuple[float, ...]
    texture_map: RgbImage | None = None
    mesh_data: NDArray[np.float32] | None = None
    """Optional in the specification; not computed, since no model of this service needs the two."""


def preprocess(face: FaceModel) -> PreprocessedFace:
    """Cut out and align a face; FACE_MODEL_INCOMPATIBLE where the points span no face."""
    points = face.landmarks().astype(np.float64)
    framing = frame_head(points, (face.resolution.width, face.resolution.height))
    if not 8.0 <= framing.face_length <= 2.0 * max(face.neutral_pose.shape):
        message = (
            f"face model {face.id!r} cannot be used: keypoints.json: the points span no face in "
            "the picture"
        )
        raise LipSyncError(
            LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE,
            message,
            recoverable=False,
            details={"file": "keypoints.json"},
        )
    embedding = face.embeddings[0] if face.embeddings else ()
    return PreprocessedFace(
        cut_out(face.neutral_pose, framing),
        framing.to_picture(points).astype(np.float32),
        embedding,
    )
