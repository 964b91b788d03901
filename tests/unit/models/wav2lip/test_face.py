"""Wav2Lip's face crop and the way of its patch back into the picture."""

from __future__ import annotations

import numpy as np
import pytest
from demo_face import demo_face, small_face

from orchestrator.models.wav2lip.face import (
    FACE_SIZE,
    FaceBox,
    face_box,
    feathered_mask,
    network_crop,
    paste_back,
    prepare_wav2lip_face,
)

LANDMARKS = np.array([[60.2, 40.7], [180.9, 90.0], [120.0, 219.1], [100.0, 100.0]], np.float32)


def gradient(side: int = 256) -> np.ndarray:
    ramp = np.linspace(20, 230, side)
    return np.stack(
        [
            np.add.outer(ramp, ramp) / 2,
            np.add.outer(ramp, -ramp) / 4 + 120,
            np.full((side, side), 90.0),
        ],
        2,
    ).astype(np.uint8)


def test_the_box_holds_the_mesh_and_room_for_the_jaw() -> None:
    assert face_box(LANDMARKS, 256, 256) == FaceBox(top=40, bottom=232, left=60, right=182)


def test_the_box_ends_at_the_picture() -> None:
    assert face_box(LANDMARKS - np.float32([100, 0]), 225, 256) == FaceBox(
        top=40, bottom=225, left=0, right=82
    )


@pytest.mark.parametrize("shift", [(500.0, 0.0), (0.0, -400.0)])
def test_a_face_outside_the_picture_is_refused(shift: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        face_box(LANDMARKS + np.float32(shift), 256, 256)


def test_the_crop_is_the_box_at_the_network_s_size() -> None:
    picture = gradient()
    crop = network_crop(picture, FaceBox(top=40, bottom=136, left=60, right=156))
    np.testing.assert_array_equal(crop, picture[40:136, 60:156])


def oval(height: int, width: int) -> np.ndarray:
    """A face whose chin leaves the box's margin free."""
    turns = np.linspace(0.0, 2.0 * np.pi, 36, endpoint=False)
    return np.stack(
        [width * (0.5 + 0.5 * np.sin(turns)), height * (0.47 - 0.47 * np.cos(turns))], axis=1
    )


def test_the_mask_covers_mouth_and_chin_and_leaves_the_eyes_and_what_is_beside_the_face() -> None:
    mask = feathered_mask(200, 160, oval(200, 160))
    assert mask[120:170, 50:110].min() > 0.99
    assert mask[180, 80] > 0.9
    assert mask[:88].max() == 0.0
    assert max(mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) < 0.02
    assert max(mask[185:, :20].max(), mask[185:, -20:].max()) < 0.06


def test_the_mask_has_no_step() -> None:
    mask = feathered_mask(200, 160, oval(200, 160))
    assert max(np.abs(np.diff(mask, axis=0)).max(), np.abs(np.diff(mask, axis=1)).max()) < 0.2


def test_a_large_face_is_averaged_rather_than_sampled() -> None:
    checks = (np.indices((480, 480)).sum(axis=0) % 2 * 255).astype(np.uint8)
    crop = network_crop(
        np.repeat(checks[..., None], 3, axis=2), FaceBox(top=0, bottom=480, left=0, right=480)
    )
    assert np.ptp(crop) <= 12


@pytest.mark.parametrize("size", [128, 256, 512])
def test_pasting_the_crop_itself_changes_nothing_visible(size: int) -> None:
    face = prepare_wav2lip_face(demo_face(), size)
    rest = face.head.at_rest()
    picture = rest.copy()
    paste_back(face, picture, network_crop(rest, face.box))
    change = np.abs(picture.astype(int) - rest)
    inside = np.zeros((size, size), bool)
    inside[face.box.top : face.box.bottom, face.box.left : face.box.right] = face.patch_weight > 0
    assert change[~inside].max() == 0
    assert change[inside].mean() < 1.5


@pytest.mark.parametrize("size", [128, 256, 512])
def test_smooth_skin_comes_back_to_the_grey_level(size: int) -> None:
    face = prepare_wav2lip_face(demo_face(), size)
    smooth = gradient(size)
    picture = smooth.copy()
    paste_back(face, picture, network_crop(smooth, face.box))
    assert np.abs(picture.astype(int) - smooth).max() <= 2


def test_a_smaller_share_lets_the_picture_through() -> None:
    face = prepare_wav2lip_face(demo_face(), 256)
    black, white = (
        np.zeros((256, 256, 3), np.uint8),
        np.full((FACE_SIZE, FACE_SIZE, 3), 255, np.uint8),
    )
    middle = (face.box.bottom - face.box.height // 4, (face.box.left + face.box.right) // 2)
    for share, level in ((0.0, 0), (0.4, 102), (1.0, 255)):
        picture = black.copy()
        paste_back(face, picture, white, share)
        assert abs(int(picture[middle][0]) - level) <= 1


def test_the_box_follows_the_face_in_a_photo_that_is_cut_to_a_square() -> None:
    whole, small = (prepare_wav2lip_face(face, 256) for face in (demo_face(), small_face()))
    assert small.box.height == pytest.approx(whole.box.height * 400 / 700, abs=2)
    crops = [network_crop(face.head.at_rest(), face.box).astype(int) for face in (whole, small)]
    assert np.abs(crops[0] - crops[1]).mean() < 8
