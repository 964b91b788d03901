"""Wav2Lip's face crop and the way of its patch back into the picture."""

from __future__ import annotations

import numpy as np
import pytest

from orchestrator.models.wav2lip_face import FACE_SIZE, FaceBox, face_box, feathered_mask, network_crop, paste_back, prepare_wav2lip_face

LANDMARKS = np.array([[60.2, 40.7], [180.9, 90.0], [120.0, 219.1], [100.0, 100.0]], np.float32)


def gradient(side: int = 256) -> np.ndarray:
    ramp = np.linspace(20, 230, side)
    return np.stack([np.add.outer(ramp, ramp) / 2, np.add.outer(ramp, -ramp) / 4 + 120, np.full((side, side), 90.0)], 2).astype(np.uint8)


def test_the_box_holds_the_mesh_and_room_for_the_jaw() -> None:
    assert face_box(LANDMARKS, 256, 256) == FaceBox(top=40, bottom=232, left=60, right=182)


def test_the_box_ends_at_the_picture() -> None:
    assert face_box(LANDMARKS - np.float32([100, 0]), 225, 256) == FaceBox(top=40, bottom=225, left=0, right=82)


@pytest.mark.parametrize("shift", [(500.0, 0.0), (0.0, -400.0)])
def test_a_face_outside_the_picture_is_refused(shift: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="landmarks"):
        face_box(LANDMARKS + np.float32(shift), 256, 256)


def test_the_crop_is_the_box_at_the_network_s_size() -> None:
    picture = gradient()
    crop = network_crop(picture, FaceBox(top=40, bottom=136, left=60, right=156))
    np.testing.assert_array_equal(crop, picture[40:136, 60:156])


def test_the_mask_covers_the_mouth_and_leaves_the_eyes_and_the_border() -> None:
    mask = feathered_mask(200, 160)
    assert mask[120:180, 30:130].min() == 1.0
    assert mask[:88].max() == 0.0
    assert max(mask[-1].max(), mask[:, 0].max(), mask[:, -1].max()) < 0.02


def test_the_mask_has_no_step() -> None:
    mask = feathered_mask(200, 160)
    assert max(np.abs(np.diff(mask, axis=0)).max(), np.abs(np.diff(mask, axis=1)).max()) < 0.1


@pytest.mark.parametrize("side", [128, 256, 512])
def test_pasting_the_crop_itself_changes_nothing_visible(side: int) -> None:
    face = prepare_wav2lip_face(gradient(side), LANDMARKS * (side / 256))
    frames = paste_back(face, face.crop[None])
    assert frames.shape == (1, side, side, 3)
    assert np.abs(frames[0].astype(int) - face.picture).max() <= 3


def test_a_patch_shows_in_the_mouth_alone_and_each_frame_has_its_own() -> None:
    face = prepare_wav2lip_face(gradient(), LANDMARKS)
    patches = np.stack([np.full((FACE_SIZE, FACE_SIZE, 3), level, np.uint8) for level in (0, 255)])
    frames = paste_back(face, patches)
    mouth = (face.box.top + round(0.75 * face.box.height), (face.box.left + face.box.right) // 2)
    assert [tuple(frame[mouth]) for frame in frames] == [(0, 0, 0), (255, 255, 255)]
    outside = np.ones(face.picture.shape[:2], bool)
    outside[face.box.top + int(0.44 * face.box.height) : face.box.bottom, face.box.left : face.box.right] = False
    np.testing.assert_array_equal(frames[1][outside], face.picture[outside])


def test_pasting_leaves_the_prepared_face_as_it_was() -> None:
    face = prepare_wav2lip_face(gradient(), LANDMARKS)
    before = face.picture.copy()
    paste_back(face, np.zeros((3, FACE_SIZE, FACE_SIZE, 3), np.uint8))
    np.testing.assert_array_equal(face.picture, before)
    assert face.nbytes == face.picture.nbytes + face.crop.nbytes + 2 * 4 * face.box.height * face.box.width
