"""The demo portrait as material: faces with 468 and 478 points, and one whose picture shows parted
lips and teeth.
"""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from rendering_faces import Face, motion

from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, face_prefix
from orchestrator.rendering.build_face_maps import build_face_maps
from orchestrator.rendering.face_renderer import FaceRenderer
from orchestrator.rendering.landmarks import LOWER_LIP_INNER, LOWER_LIP_OUTER, UPPER_LIP_INNER
from orchestrator.rendering.mouth_fields import MAX_GAP, UPPER_SHARE


@pytest.fixture(scope="session")
def portrait() -> Face:
    folder = SHIPPED_FACES / face_prefix(DEMO_USER, DEMO_FACE)
    image = cv2.cvtColor(cv2.imread(str(folder / "neutral_pose.jpg")), cv2.COLOR_BGR2RGB)
    points = json.loads((folder / "keypoints.json").read_text())
    return Face(image, np.array([(p["x"], p["y"]) for p in points], dtype=np.float32))


@pytest.fixture(scope="session")
def renderer(portrait: Face) -> FaceRenderer:
    return FaceRenderer(build_face_maps(portrait.image, portrait.landmarks, 256))


@pytest.fixture(scope="session")
def toothy(portrait: Face) -> Face:
    """The portrait photographed with its mouth open: what it shows between the lips has to
    disappear at rest.
    """
    renderer = FaceRenderer(build_face_maps(portrait.image, portrait.landmarks, 512))
    opening = 0.45
    landmarks = portrait.landmarks * np.float32(512 / 768)
    gap = opening * MAX_GAP * float(renderer.maps.mouth_frame[4])
    profile = np.sqrt(np.maximum(1.0 - np.linspace(-1.0, 1.0, 11) ** 2, 0.0)).astype(np.float32)
    landmarks[list(UPPER_LIP_INNER), 1] -= UPPER_SHARE * gap * profile
    for lip in (LOWER_LIP_INNER, LOWER_LIP_OUTER):
        landmarks[list(lip)[1:-1], 1] += (1.0 - UPPER_SHARE) * gap * profile[1:-1]
    return Face(renderer.draw(motion(open=opening, jaw=0.0)), landmarks)
