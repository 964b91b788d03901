"""Faces and landmarks on hard pictures, compared with MediaPipe 0.10.21.

    python -m benchmarks.landmark_photos

Prints the faces found per group of pictures beside MediaPipe's, ms per picture, the distances of
the points from the recorded ones, and their scatter, both in pixels of a face 256 wide.

`tests/data/landmarks/mediapipe_0_10_21.json` records the results of MediaPipe's `solutions` with
earlier code of this service: the number of faces on every picture, and the mesh of some. Its mesh
network (192 pixels, with attention) differs from that of `face_landmarker.task` (256 pixels), so
the points differ by more than either network scatters.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.landmark_pictures import Picture, astronaut, pictures, portrait
from benchmarks.shared import command_line
from orchestrator.core.types import RgbImage
from orchestrator.faces.enrolment.face_mesh import Mesh
from orchestrator.faces.enrolment.landmarks import find_faces

RECORDED: Final = Path(__file__).parents[1] / "tests/data/landmarks/mediapipe_0_10_21.json"

EYES_AND_LIPS: Final = (61, 291, 13, 14, 0, 17, 33, 263, 133, 362, 159, 145)
FACE_WIDTH_PX: Final = 256
"""Width of the face to which distances are scaled, between the mesh points 234 and 454."""

COPIES: Final = 16
_RIGHT_EDGE, _LEFT_EDGE = 234, 454
_COUNTS: Final = "{:<11} {:>8} {:>9} {:>9} {:>6} {:>9} {:>6}"


def main() -> None:
    """Print the counts, the distances and the scatter."""
    command_line("landmark_photos", __doc__).parse_args()
    recorded = json.loads(RECORDED.read_text())
    began_s = time.perf_counter()
    found = [(picture, find_faces(picture.image)) for picture in pictures()]
    _print_counts(found, recorded["faces"])
    print(f"{(time.perf_counter() - began_s) / len(found) * 1000:.0f} ms a picture\n")
    _print_distances({picture.name: faces for picture, faces in found}, recorded["points"])
    print()
    for name, photo in (("astronaut", astronaut()), ("portrait", portrait())):
        print(
            f"{name}: {scatter_px(photo):.2f} px scatter over {COPIES} turned, scaled and moved "
            "copies"
        )


def difference_px(points: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances `[n]` of points `[n, 2 or 3]` in the picture, on a face `FACE_WIDTH_PX` wide."""
    width = np.hypot(*(wanted[_LEFT_EDGE, :2] - wanted[_RIGHT_EDGE, :2]))
    return np.asarray(np.hypot(*(points - wanted)[:, :2].T) * FACE_WIDTH_PX / width)


def scatter_px(photo: RgbImage) -> float:
    """Mean distance of the points in `COPIES` turned, scaled and moved copies from their mean.

    The points are mapped back to the original photo first.
    """
    random = np.random.default_rng(1)
    height, width = photo.shape[:2]
    meshes = []
    for _ in range(COPIES):
        matrix = cv2.getRotationMatrix2D(
            (width / 2, height / 2), random.uniform(-8, 8), random.uniform(0.85, 1.2)
        )
        matrix[:, 2] = matrix[:, 2] + random.uniform(-6, 6, 2)
        copy = cv2.warpAffine(photo, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        points = find_faces(np.asarray(copy, np.uint8))[0][:, :2]
        meshes.append((points - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T)
    middle = np.mean(meshes, axis=0)
    return float(np.mean([difference_px(mesh, middle) for mesh in meshes]))


def _print_counts(found: list[tuple[Picture, list[Mesh]]], recorded: dict[str, int]) -> None:
    print(_COUNTS.format("pictures", "faces", "found", "too many", "", "MediaPipe", "").rstrip())
    groups: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for picture, faces in found:
        groups[picture.group].append((picture.faces, len(faces), recorded[picture.name]))
    for group, counts in groups.items():
        shown, ours, theirs = np.array(counts).T
        right, wrong = (f"{np.minimum(shown, ours).sum()}", f"{np.maximum(0, ours - shown).sum()}")
        right_before, wrong_before = (
            f"{np.minimum(shown, theirs).sum()}",
            f"{np.maximum(0, theirs - shown).sum()}",
        )
        print(_COUNTS.format(group, int(shown.sum()), right, wrong, "", right_before, wrong_before))


def _print_distances(found: dict[str, list[Mesh]], recorded: dict[str, Any]) -> None:
    print(
        f"{'px, face 256 wide':<24} {'mean':>6} {'most':>6} {'eyes and lips':>14} "
        f"{'correlation of z':>17}"
    )
    for name, rows in recorded.items():
        wanted = np.array(rows)
        if not found[name]:
            print(f"{name:<24} not found")
            continue
        far = difference_px(found[name][0], wanted)
        depth = np.corrcoef(found[name][0][:, 2], wanted[:, 2])[0, 1]
        print(
            f"{name:<24} {far.mean():6.2f} {far.max():6.2f} "
            f"{far[list(EYES_AND_LIPS)].mean():14.2f} {depth:17.4f}"
        )


if __name__ == "__main__":
    main()
