"""Compatibility of a face with the lip-sync models, with the reasons against a model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.core.types import SHIPPED_MODELS, FaceModel, LipSyncModel
from orchestrator.models import ADAPTERS
from orchestrator.models.base import ModelSpec
from orchestrator.rendering.landmarks import Points, checked

MOUTH_CORNERS: Final = (61, 291)
EYE_CORNERS: Final = ((33, 133), (362, 263))
LIPS: Final = (0, 13, 14, 17, 61, 78, 291, 308)
"""Face-mesh indices: outer and inner lip midpoints and corners."""

PREFERENCE: Final = (
    LipSyncModel.TPSM,
    LipSyncModel.WAV2LIP,
    LipSyncModel.SADTALKER,
    LipSyncModel.AUDIO2HEAD,
    LipSyncModel.STATIC,
)
"""Models for live use, best first: the order of the default fallback chain.

`audio2head` looks 2 s ahead, so it is last of the talking models.
"""

MIN_TPSM_SIDE: Final = 128
MIN_CROP_SIDE: Final = 256
MIN_SADTALKER_POINTS: Final = 68
MIN_SADTALKER_QUALITY: Final = 70.0
MIN_MOUTH_WIDTH: Final = 0.04
"""Narrowest mouth that can be drawn, over the picture's shorter side: 5 pixels of 128."""

MIN_EYE_WIDTH: Final = 0.0125
"""Narrowest eye that a lid can be drawn over, relative to the picture's shorter side.

2.4 of the 192 pixels of a photo that is drawn at 128. Heads turned away have such eyes.
"""

MIN_FACE_SIDE: Final = 0.05
"""Smallest extent of all points, over the picture's shorter side.

No model can make a head of a smaller face.
"""

DRAWN_BY_POINTS: Final = (LipSyncModel.TPSM, LipSyncModel.TPSM_NEURAL)
"""Models that draw mouth and lids from their points; others only need the face's place."""


@dataclass(frozen=True, slots=True)
class CompatibilityIssue:
    """One problem of a face model, and the models it rules out (none for a mere oddity)."""

    code: str
    message: str
    models: tuple[LipSyncModel, ...] = ()


@dataclass(frozen=True, slots=True)
class Compatibility:
    """Result of `validate_compatibility`."""

    model_id: str
    compatible_lip_sync_models: tuple[LipSyncModel, ...]
    """Best first; `static` is always among them."""
    recommended_model: LipSyncModel
    issues: tuple[CompatibilityIssue, ...]


def check_compatibility(face: FaceModel) -> Compatibility:
    """Check a face against the requirements of each model.

    `tpsm-neural` is driven by pictures that `tpsm` draws, and shares its requirements. A custom
    model requires what its adapter declares.
    """
    own = tuple(adapter.spec for model, adapter in ADAPTERS.items() if model not in SHIPPED_MODELS)
    issues = (
        *_size_issues(face),
        *_point_issues(face),
        *_sadtalker_issues(face),
        *_own_issues(face, own),
        *_stated_size_issues(face),
    )
    ruled_out = {model for issue in issues for model in issue.models}
    known = (*PREFERENCE, LipSyncModel.TPSM_NEURAL, *(spec.model for spec in own))
    compatible = tuple(model for model in known if model not in ruled_out)
    return Compatibility(face.id, compatible, compatible[0], issues)


def _size_issues(face: FaceModel) -> tuple[CompatibilityIssue, ...]:
    height, width = face.neutral_pose.shape[:2]
    side, found = min(height, width), []
    if side < MIN_TPSM_SIDE:
        found.append(
            CompatibilityIssue(
                "PICTURE_TOO_SMALL", f"{width}x{height}; tpsm needs 128x128 pixels", DRAWN_BY_POINTS
            )
        )
    if side < MIN_CROP_SIDE:
        crops = (LipSyncModel.WAV2LIP, LipSyncModel.AUDIO2HEAD)
        found.append(
            CompatibilityIssue(
                "PICTURE_TOO_SMALL",
                f"{width}x{height}; wav2lip and audio2head need 256x256 pixels",
                crops,
            )
        )
    return tuple(found)


def _point_issues(face: FaceModel) -> tuple[CompatibilityIssue, ...]:
    """Issues of the key points: without a face no moving model works.

    With a face, mouth and eyes are checked.
    """
    height, width = face.neutral_pose.shape[:2]
    try:
        points = checked(face.landmarks(), width, height)
    except ValueError as error:
        return (_no_face(str(error)),)
    if (np.ptp(points, axis=0) < MIN_FACE_SIDE * min(height, width)).any():
        return (_no_face("landmarks: the points are too close together"),)
    return (*_mouth_issues(points, width, height), *_eye_issues(points, width, height))


def _no_face(message: str) -> CompatibilityIssue:
    moving = (
        *(model for model in PREFERENCE if model is not LipSyncModel.STATIC),
        LipSyncModel.TPSM_NEURAL,
    )
    return CompatibilityIssue("FACE_NOT_FOUND", f"keypoints.json: {message}", moving)


def _mouth_issues(points: Points, width: int, height: int) -> tuple[CompatibilityIssue, ...]:
    lips = points[list(LIPS)]
    inside = bool(np.all((lips >= 0) & (lips < (width, height))))
    if inside and _distance(points, MOUTH_CORNERS) >= MIN_MOUTH_WIDTH * min(height, width):
        return ()
    place = "too close together" if inside else "outside the picture"
    return (CompatibilityIssue("MOUTH_NOT_FOUND", f"the lip points are {place}", DRAWN_BY_POINTS),)


def _eye_issues(points: Points, width: int, height: int) -> tuple[CompatibilityIssue, ...]:
    if all(
        _distance(points, corners) >= MIN_EYE_WIDTH * min(height, width) for corners in EYE_CORNERS
    ):
        return ()
    return (
        CompatibilityIssue(
            "EYES_NOT_FOUND", "the corners of an eye are too close together", DRAWN_BY_POINTS
        ),
    )


def _distance(points: Points, ends: tuple[int, int]) -> float:
    return float(np.linalg.norm(points[ends[0]] - points[ends[1]]))


def _sadtalker_issues(face: FaceModel) -> tuple[CompatibilityIssue, ...]:
    found = []
    if len(face.keypoints) < MIN_SADTALKER_POINTS:
        found.append(
            CompatibilityIssue(
                "TOO_FEW_LANDMARKS", "sadtalker needs 68 landmarks", (LipSyncModel.SADTALKER,)
            )
        )
    if face.quality_score < MIN_SADTALKER_QUALITY:
        message = f"quality {face.quality_score:.0f}; sadtalker needs {MIN_SADTALKER_QUALITY:.0f}"
        found.append(CompatibilityIssue("QUALITY_TOO_LOW", message, (LipSyncModel.SADTALKER,)))
    return tuple(found)


def _own_issues(face: FaceModel, own: Iterable[ModelSpec]) -> tuple[CompatibilityIssue, ...]:
    height, width = face.neutral_pose.shape[:2]
    return tuple(
        CompatibilityIssue(
            "PICTURE_TOO_SMALL",
            f"{width}x{height}; {spec.model} needs {spec.min_size}x{spec.min_size} pixels",
            (spec.model,),
        )
        for spec in own
        if min(height, width) < spec.min_size
    )


def _stated_size_issues(face: FaceModel) -> tuple[CompatibilityIssue, ...]:
    stated, real = face.metadata.get("resolution"), face.resolution
    if not isinstance(stated, dict) or (stated.get("width"), stated.get("height")) == (
        real.width,
        real.height,
    ):
        return ()
    says = f"metadata.json says {stated.get('width')}x{stated.get('height')}"
    return (
        CompatibilityIssue(
            "RESOLUTION_MISMATCH", f"{says}, neutral_pose.jpg is {real.width}x{real.height}"
        ),
    )
