"""Faces are found, and their points lie, at least as well as with MediaPipe 0.10.21, which earlier
faces were enrolled with.
"""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from landmarker import require_face_landmarker

from benchmarks.landmark_photos import RECORDED, difference_px, scatter_px
from benchmarks.landmark_pictures import astronaut, distant, pictures, portrait, tilted
from orchestrator.core.downloads import face_landmarker
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.faces.enrolment.face_networks import face_networks, load_networks
from orchestrator.faces.enrolment.landmarks import extent, find_faces, mesh_of_square

pytestmark = pytest.mark.slow

require_face_landmarker()

PICTURES = {picture.name: picture for picture in pictures() if not picture.group.startswith("LFW")}
MEDIAPIPE = json.loads(RECORDED.read_text())
HARD = [
    name
    for name, picture in PICTURES.items()
    if picture.group in ("light", "tilted", "several") and "portrait" not in name
]
FACELESS = ["chelsea", "coffee", "coins", "gravel", "hubble_deep_field", "page", "rocket"]


@pytest.mark.parametrize("name", MEDIAPIPE["points"])
def test_points_lie_near_those_of_mediapipe(name: str) -> None:
    wanted = np.array(MEDIAPIPE["points"][name])
    points = find_faces(PICTURES[name].image)[0]
    far = difference_px(points, wanted)
    assert far.mean() < 3.2
    assert far.max() < 10
    assert np.corrcoef(points[:, 2], wanted[:, 2])[0, 1] > 0.98
    assert np.ptp(points[:, 2]) == pytest.approx(np.ptp(wanted[:, 2]), rel=0.1)


@pytest.mark.parametrize("name", HARD)
def test_every_face_is_found_in_bad_light_at_any_tilt_and_in_company(name: str) -> None:
    picture = PICTURES[name]
    assert len(find_faces(picture.image)) == picture.faces >= MEDIAPIPE["faces"][name]


@pytest.mark.parametrize("name", FACELESS)
def test_no_face_is_found_where_there_is_none(name: str) -> None:
    assert find_faces(PICTURES[name].image) == []


@pytest.mark.parametrize("photo", [astronaut(), portrait()], ids=["photo", "drawing"])
def test_copies_of_a_photo_give_the_same_points(photo: np.ndarray) -> None:
    assert scatter_px(photo) < 0.5


@pytest.mark.parametrize("angle_deg", [-120, 90, 180])
def test_a_tilted_head_has_its_eyes_where_they_are(angle_deg: float) -> None:
    upright, turned = find_faces(astronaut())[0], find_faces(tilted(astronaut(), angle_deg))[0]
    difference = _tilt_rad(upright) - _tilt_rad(turned) - math.radians(angle_deg)
    assert math.degrees(math.remainder(difference, math.tau)) == pytest.approx(0, abs=1)


@pytest.mark.parametrize("face_px", [64, 96])
def test_a_distant_face_is_found_as_large_as_it_is(face_px: int) -> None:
    near, far = find_faces(astronaut())[0], find_faces(distant(astronaut(), face_px))[0]
    assert extent(far) / extent(near) == pytest.approx((face_px / 130) ** 2, rel=0.15)


def test_a_line_and_a_dot_show_no_face() -> None:
    assert find_faces(np.zeros((1, 4000, 3), np.uint8)) == []
    assert find_faces(np.zeros((1, 1, 3), np.uint8)) == []
    assert mesh_of_square(np.zeros((64, 64, 3), np.uint8)) is None


def test_threads_that_look_at_once_see_what_one_sees() -> None:
    photos = [astronaut(), portrait()] * 4
    alone = [find_faces(photo)[0] for photo in photos[:2]] * 4
    with ThreadPoolExecutor(4) as threads:
        together = [faces[0] for faces in threads.map(find_faces, photos)]
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_damaged_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    damaged = tmp_path / "face_landmarker.task"
    damaged.write_bytes(face_landmarker().read_bytes()[:-1])
    with pytest.raises(
        LipSyncError, match=r"face_landmarker\.task is damaged.*delete it and run `lipsync fetch`"
    ) as caught:
        load_networks(damaged)
    assert caught.value.code is LipSyncErrorCode.MODEL_LOAD_FAILED


def test_without_the_file_the_error_says_how_to_fetch_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIPSYNC_DOWNLOADS", str(tmp_path))
    face_networks.cache_clear()
    with pytest.raises(LipSyncError, match="lipsync fetch") as caught:
        find_faces(astronaut())
    assert caught.value.code is LipSyncErrorCode.MODEL_LOAD_FAILED


def _tilt_rad(mesh: np.ndarray) -> float:
    across = mesh[263] - mesh[33]
    return math.atan2(across[1], across[0])
