"""What SadTalker is shown of a photo, and that its pictures go back into it unseen."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from demo_face import demo_face, small_face

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel, Keypoint, RgbImage
from orchestrator.models.sadtalker.landmarks import IBUG_POINTS, ibug_points
from orchestrator.models.sadtalker.paste import CropPlace, paste_all, pasting
from orchestrator.models.sadtalker.photo import prepare_photo
from orchestrator.models.tpsm.adapter import prepare_face
from orchestrator.rendering.face_renderer import FaceRenderer


def blurred(picture: RgbImage) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), 3.0).astype(int)


def test_the_68_points_stand_where_ibug_has_them() -> None:
    assert len(IBUG_POINTS) == len(set(IBUG_POINTS)) == 68
    points = ibug_points(demo_face().landmarks())
    left_eye, right_eye, nose = points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30]
    assert points[36, 0] < points[39, 0] < nose[0] < points[42, 0] < points[45, 0]
    assert points[37:39, 1].max() < left_eye[1] < points[40:42, 1].min()
    assert points[43:45, 1].max() < right_eye[1] < points[46:48, 1].min()
    assert (np.diff(points[27:31, 1]) > 0).all() and (np.diff(points[31:36, 0]) > 0).all()
    assert (
        points[48, 0] < points[51, 0] < points[54, 0]
        and points[51, 1] < points[62, 1] <= points[66, 1] < points[57, 1]
    )
    assert points[8, 1] == points[:, 1].max()
    assert (np.diff(points[17:27, 0]) > 0).all() and points[17:27, 1].max() < left_eye[1]


@pytest.mark.parametrize(
    "face", [demo_face(), small_face()], ids=["portrait", "small in a wide photo"]
)
@pytest.mark.parametrize("size", [128, 256, 512])
def test_the_unmoved_crop_goes_back_unseen(face: FaceModel, size: int) -> None:
    photo = prepare_photo(face, size)
    (frame,) = paste_all(photo.still, photo.picture[None], photo.pasting)
    assert np.abs(blurred(frame) - blurred(photo.still)).max() <= 12
    assert np.abs(frame.astype(int) - photo.still).mean() < 2.5
    mirrored = paste_all(photo.still, photo.picture[None, :, ::-1], photo.pasting)[0]
    assert np.abs(blurred(mirrored) - blurred(photo.still)).max() > 30


@pytest.mark.parametrize(
    "face", [demo_face(), small_face()], ids=["portrait", "small in a wide photo"]
)
def test_the_still_picture_is_the_one_that_the_built_in_model_draws(face: FaceModel) -> None:
    photo, maps = prepare_photo(face, 256), prepare_face(face, 256)
    resting = FaceRenderer(maps.maps).draw(np.zeros(11, np.float32))
    assert np.abs(blurred(photo.still) - blurred(resting)).max() <= 8
    assert photo.seed == maps.seed


def test_nothing_changes_outside_of_the_crop_and_all_of_it_well_inside() -> None:
    how = pasting(CropPlace(40.0, 30.5, 160.0, 150.0), 256)
    white = np.full((1, 256, 256, 3), 255, np.uint8)
    (frame,) = paste_all(np.zeros((256, 256, 3), np.uint8), white, how)
    changed = frame[..., 0]
    assert (
        (changed[:30] == 0).all()
        and (changed[181:] == 0).all()
        and (changed[:, :40] == 0).all()
        and (changed[:, 200:] == 0).all()
    )
    assert (changed[50:160, 60:180] == 255).all()
    assert np.abs(np.diff(changed[100].astype(int))).max() < 40


def test_a_crop_at_the_picture_s_border_moves_up_to_it() -> None:
    how = pasting(CropPlace(0.0, 30.0, 200.0, 300.0), 256)
    (frame,) = paste_all(
        np.zeros((256, 256, 3), np.uint8), np.full((1, 256, 256, 3), 255, np.uint8), how
    )
    assert (frame[60:, :150] == 255).all()
    assert frame[100, 199, 0] < 30


def test_a_face_that_is_too_small_is_refused_with_what_to_do() -> None:
    with pytest.raises(LipSyncError, match="pixels in the photo, 64 are needed; enrol") as raised:
        prepare_photo(small_face(side=60), 256)
    assert raised.value.code is LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE


def test_points_that_make_no_face_are_refused() -> None:
    heap = replace(demo_face(), keypoints=tuple(Keypoint(100.0, 100.0) for _ in range(478)))
    with pytest.raises(LipSyncError) as raised:
        prepare_photo(heap, 256)
    assert raised.value.code is LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE


def test_the_face_is_aligned_wherever_it_is_in_the_photo() -> None:
    near, far = prepare_photo(demo_face(), 256), prepare_photo(small_face(), 256)
    assert np.abs(blurred(near.aligned) - blurred(far.aligned)).mean() < 3.0
    assert np.abs(blurred(near.picture) - blurred(far.picture)).mean() < 3.0
