"""Faces and their mesh points in a picture."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from orchestrator.core.types import RgbImage
from orchestrator.faces.enrolment.face_detector import Detection, detect_faces, resized
from orchestrator.faces.enrolment.face_mesh import Mesh, fit_mesh

SEARCH_SIDE: Final = 1280
"""Photos are searched at this size at most."""

LEVELS: Final = 3
"""Sizes of tiles that photos are searched in: the whole photo, halves and quarters."""

TURNED_LEVELS: Final = 2
"""On so many of the levels photos without an upright face are also searched on their sides and
upside down.
"""

MAX_FACES: Final = 5
"""More than this in one photo need not be counted: one must dominate."""


def find_faces(image: RgbImage) -> list[Mesh]:
    """Find the meshes of all faces in `[h, w, 3]`, largest first; raise MODEL_LOAD_FAILED where the
    networks are missing.
    """
    return _faces(image, LEVELS, TURNED_LEVELS)


def mesh_of_square(image: RgbImage) -> Mesh | None:
    """Find the mesh of the largest face in a square that an upright face fills; None where there is
    none.
    """
    return next(iter(_faces(image, 1, 0)), None)


def extent(mesh: Mesh) -> float:
    """How large a face is: the area in pixels of the box around its mesh."""
    return float(np.prod(np.ptp(mesh[:, :2], axis=0)))


def _faces(image: RgbImage, levels: int, turned_levels: int) -> list[Mesh]:
    """Search one level beyond the first that shows a face: faces on that one may still be half as
    large.
    """
    scale = min(1.0, SEARCH_SIDE / max(image.shape[:2]))
    if round(scale * min(image.shape[:2])) < 1:
        return []  # a line
    small, found = resized(image, scale), list[tuple[Detection, Mesh]]()
    for level in range(levels):
        last = bool(found)
        turned = level < turned_levels and not any(face.upright for face, _ in found)
        for face in detect_faces(small, level, turned=turned)[:MAX_FACES]:
            if (mesh := fit_mesh(image, face.scaled(1 / scale))) is not None:
                found.append((face, mesh))
        if last:
            break
    return sorted(_distinct(found), key=lambda mesh: -extent(mesh))


def _distinct(found: list[tuple[Detection, Mesh]]) -> list[Mesh]:
    """The meshes of the most confident detections where several levels show the same face."""
    kept: list[Mesh] = []
    for _, mesh in sorted(found, key=lambda pair: -pair[0].confidence):
        if not any(_same_face(mesh, other) for other in kept):
            kept.append(mesh)
    return kept[:MAX_FACES]


def _same_face(a: Mesh, b: Mesh) -> bool:
    """Tell if the middles of two meshes lie within half a face of each other."""
    apart = np.hypot(*(a[:, :2].mean(axis=0) - b[:, :2].mean(axis=0)))
    return bool(apart < 0.5 * math.sqrt(max(extent(a), extent(b))))
