"""Faces and their mesh points in a picture."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from orchestrator.core.types import RgbImage
from orchestrator.faces.enrolment.face_detector import Detection, detect_faces, resized
from orchestrator.faces.enrolment.face_mesh import Mesh, fit_mesh

SEARCH_SIDE: Final = 1280
"""Largest side at which photos are searched, pixels."""

LEVELS: Final = 3
"""Tile levels for photos: the whole photo, halves and quarters."""

TURNED_LEVELS: Final = 2
"""Levels on which photos without an upright face are also searched turned."""

MAX_FACES: Final = 5
"""Largest number of faces counted in one photo, since one must dominate."""


def find_faces(image: RgbImage) -> list[Mesh]:
    """Find the meshes of all faces in `[h, w, 3]`, largest first.

    Raises MODEL_LOAD_FAILED where the networks are missing.
    """
    return _faces(image, LEVELS, TURNED_LEVELS)


def mesh_of_square(image: RgbImage) -> Mesh | None:
    """Find the largest face in a square that an upright face fills; None without a face."""
    return next(iter(_faces(image, 1, 0)), None)


def extent(mesh: Mesh) -> float:
    """Size of a face: area of the bounding box of its mesh, square pixels."""
    return float(np.prod(np.ptp(mesh[:, :2], axis=0)))


def _faces(image: RgbImage, levels: int, turned_levels: int) -> list[Mesh]:
    """Search one level beyond the first with a face, where faces may still be half as large."""
    scale = min(1.0, SEARCH_SIDE / max(image.shape[:2]))
    if round(scale * min(image.shape[:2])) < 1:
        return []  # a picture without area
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
    """Keep the mesh of the most confident detection of each face."""
    kept: list[Mesh] = []
    for _, mesh in sorted(found, key=lambda pair: -pair[0].confidence):
        if not any(_same_face(mesh, other) for other in kept):
            kept.append(mesh)
    return kept[:MAX_FACES]


def _same_face(a: Mesh, b: Mesh) -> bool:
    """True if the centres of two meshes lie within half a face of each other."""
    apart = np.hypot(*(a[:, :2].mean(axis=0) - b[:, :2].mean(axis=0)))
    return bool(apart < 0.5 * math.sqrt(max(extent(a), extent(b))))
