"""Paint the demo portrait and store it with its landmarks: `python -m tools.demo_portrait`."""

from __future__ import annotations

import json
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.core.types import FaceModel, Keypoint, Resolution
from orchestrator.faces.enrolment.landmarks import mesh_of_square
from orchestrator.faces.storage.face_format import serialise_face_model
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, active_model_key, face_prefix
from orchestrator.rendering.landmarks import (
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    LOWER_LIP_INNER,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
    UPPER_LIP_INNER,
)
from tools.demo_portrait.canvas import SIDE, spline
from tools.demo_portrait.painting import portrait
from tools.demo_portrait.palette import EYE, LIP_LINE, eye_at

QUALITY: Final = 92
CREATED_AT: Final = "2026-01-01T00:00:00Z"
"""Fixed date, so that painting the portrait again changes nothing else."""


def main() -> None:
    """Write the files of user `demo`, face `demo`."""
    picture = portrait()
    found = mesh_of_square(picture)
    if found is None:
        raise SystemExit("no face found in the portrait")
    points = corrected(found[:, :2])
    face = FaceModel(
        id=DEMO_FACE,
        user_id=DEMO_USER,
        resolution=Resolution(SIDE, SIDE),
        keypoints=tuple(
            Keypoint(round(float(x), 2), round(float(y), 2), 1.0, str(number))
            for number, (x, y) in enumerate(points)
        ),
        neutral_pose=picture,
        quality_score=100.0,
        created_at=CREATED_AT,
        embeddings=(_shape_vector(points),),
        metadata={
            "version": "1",
            "displayName": "Mira",
            "licence": "as this repository; drawn by code in tools/demo_portrait",
        },
    )
    folder = SHIPPED_FACES / face_prefix(DEMO_USER, DEMO_FACE)
    folder.mkdir(parents=True, exist_ok=True)
    jpeg = simplejpeg.encode_jpeg(
        picture, quality=QUALITY, colorspace="RGB", colorsubsampling="444"
    )
    for name, data in serialise_face_model(face, jpeg).items():
        (folder / name).write_bytes(data)
    (SHIPPED_FACES / active_model_key(DEMO_USER)).write_text(
        json.dumps({"activeModelId": DEMO_FACE}) + "\n"
    )


def corrected(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The detector's points, with lips and lids moved to where they were painted.

    The detector errs by a pixel or two on them.
    """
    points = points.copy()
    line = spline(LIP_LINE, closed=False)
    for row in (UPPER_LIP_INNER, LOWER_LIP_INNER):
        inner = list(row)
        points[inner, 0] = np.interp(
            np.linspace(-1, 1, len(inner)), (-1, 1), (line[0, 0] + 3, line[-1, 0] - 3)
        )
        points[inner, 1] = np.interp(points[inner, 0], line[:, 0], line[:, 1])
    for side, upper, lower in (
        (-1.0, RIGHT_EYE_UPPER, RIGHT_EYE_LOWER),
        (1.0, LEFT_EYE_UPPER, LEFT_EYE_LOWER),
    ):
        outline = spline(eye_at(side, EYE), closed=True)
        _to_lids(points, outline, upper, lower)
    return points


def _to_lids(
    points: NDArray[np.float64],
    outline: NDArray[np.float64],
    upper: tuple[int, ...],
    lower: tuple[int, ...],
) -> None:
    """Spread each lid's points evenly between the painted corners."""
    first, last = int(outline[:, 0].argmin()), int(outline[:, 0].argmax())
    ways = (np.roll(outline, -first, axis=0), np.roll(outline, -last, axis=0))
    forth = ways[0][: (last - first) % len(outline) + 1]
    back = ways[1][: (first - last) % len(outline) + 1][::-1]
    over, under = (forth, back) if forth[:, 1].mean() < back[:, 1].mean() else (back, forth)
    for row, way in ((upper, over), (lower, under)):
        indices = list(row)
        points[indices, 0] = np.linspace(way[0, 0], way[-1, 0], len(indices))
        points[indices, 1] = np.interp(points[indices, 0], way[:, 0], way[:, 1])


def _shape_vector(points: NDArray[np.float64]) -> tuple[float, ...]:
    """The face's shape without place and size: the substitute for an embedding of a drawing."""
    centered = points[:468] - points[:468].mean(axis=0)
    flat = (centered / np.linalg.norm(centered)).ravel()[::8]
    return tuple(round(float(value), 5) for value in flat)


if __name__ == "__main__":
    main()
