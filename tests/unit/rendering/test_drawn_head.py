"""Lids, sway and what a caller may rely on: shapes, finite values, fresh arrays, the same answer
every time.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from rendering_faces import Face, motion

from orchestrator.rendering.build_face_maps import build_face_maps
from orchestrator.rendering.face_renderer import FaceRenderer
from orchestrator.rendering.motion import MOTION_PARAMETERS, VISEMES


@pytest.mark.parametrize("size", [128, 256, 512])
def test_frames_have_the_size_asked_for(portrait: Face, size: int) -> None:
    frame = FaceRenderer(build_face_maps(portrait.image, portrait.landmarks, size)).draw(
        motion("E")
    )
    assert frame.shape == (size, size, 3)
    assert frame.dtype == np.uint8


def test_drawing_leaves_no_trace(portrait: Face) -> None:
    renderer = FaceRenderer(build_face_maps(portrait.image, portrait.landmarks, 256))
    blob = renderer.maps.to_bytes()
    first = renderer.draw(motion("aa", blink=0.6))
    kept = first.copy()
    renderer.draw(motion("ou", sway_x=0.01))
    assert np.array_equal(first, kept)
    assert np.array_equal(renderer.draw(motion("aa", blink=0.6)), kept)
    assert renderer.maps.to_bytes() == blob


def test_a_frame_may_be_drawn_into_a_row_of_a_larger_array(renderer: FaceRenderer) -> None:
    frames = np.full((3, 256, 256, 3), 77, dtype=np.uint8)
    renderer.draw_into(motion("aa"), frames[1])
    assert np.array_equal(frames[1], renderer.draw(motion("aa")))
    assert (frames[[0, 2]] == 77).all()


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((256, 256, 4), np.uint8),
        np.zeros((256, 256, 3), np.int8),
        np.zeros((256, 512, 3), np.uint8)[:, ::2],
    ],
)
def test_an_array_that_holds_no_frame_is_refused(renderer: FaceRenderer, frame: np.ndarray) -> None:
    with pytest.raises(ValueError, match="frame"):
        renderer.draw_into(motion(), frame)


def test_threads_that_share_a_face_do_not_disturb_each_other(renderer: FaceRenderer) -> None:
    rows = [motion(name, blink=0.4, sway_x=0.01) for name in VISEMES] * 4
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(renderer.draw, rows))
    assert all(
        np.array_equal(frame, renderer.draw(row)) for frame, row in zip(together, rows, strict=True)
    )


def test_closed_lids_hide_the_eyes_and_nothing_else(portrait: Face, renderer: FaceRenderer) -> None:
    opened, shut = renderer.draw(motion()), renderer.draw(motion(blink=1.0))
    left, right = (portrait.landmarks[index] / 3.0 for index in (468, 473))
    for x, y in (left, right):
        iris = np.s_[int(y) - 2 : int(y) + 2, int(x) - 3 : int(x) + 3]
        assert shut[iris].mean() > opened[iris].mean() + 40
    changed = np.nonzero((opened != shut).any(axis=2))[0]
    assert changed.min() > portrait.landmarks[105, 1] / 3.0
    assert changed.max() < portrait.landmarks[50, 1] / 3.0


@pytest.mark.parametrize("degrees", [-15, 15])
def test_a_tilted_head_blinks_too(portrait: Face, degrees: float) -> None:
    turn = cv2.getRotationMatrix2D((384, 384), degrees, 1.0)
    image = cv2.warpAffine(portrait.image, turn, (768, 768), borderMode=cv2.BORDER_REPLICATE)
    landmarks = (portrait.landmarks @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
    renderer = FaceRenderer(build_face_maps(image, landmarks, 256))
    opened, shut = renderer.draw(motion()), renderer.draw(motion(blink=1.0))
    for x, y in landmarks[[468, 473]] / 3.0:
        iris = np.s_[int(y) - 2 : int(y) + 2, int(x) - 2 : int(x) + 2]
        assert shut[iris].mean() > opened[iris].mean() + 40


def test_half_a_blink_lies_between_open_and_shut(renderer: FaceRenderer, portrait: Face) -> None:
    x, y = portrait.landmarks[468] / 3.0
    eye = np.s_[int(y) - 8 : int(y) + 8, int(x) - 12 : int(x) + 12]
    shown = [
        renderer.draw(motion(blink=value))[eye].astype(float).mean()
        for value in (0.0, 0.35, 0.7, 1.0)
    ]
    assert shown == sorted(shown)


def test_the_head_sways_and_the_border_of_the_picture_does_not(renderer: FaceRenderer) -> None:
    rest, swayed = (
        renderer.draw(motion()).astype(int),
        renderer.draw(motion(sway_x=0.01, sway_y=0.005, roll=0.015)).astype(int),
    )
    assert np.abs(rest - swayed)[60:180, 80:180].mean() > 2.0
    for border in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert np.abs(rest - swayed)[border].max() <= 2


def test_sway_moves_the_picture_the_way_it_says(renderer: FaceRenderer) -> None:
    rest = renderer.draw(motion()).astype(float)[70:150, 80:170].mean(axis=2)
    right = renderer.draw(motion(sway_x=0.01)).astype(float)[:, :].mean(axis=2)
    errors = {
        shift: np.abs(rest - right[70:150, 80 + shift : 170 + shift]).mean() for shift in (-3, 0, 3)
    }
    assert min(errors, key=lambda shift: errors[shift]) == 3


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 50.0, -50.0])
def test_impossible_motion_is_clipped(renderer: FaceRenderer, value: float) -> None:
    frame = renderer.draw(np.full(len(MOTION_PARAMETERS), value, dtype=np.float32))
    assert frame.std() > 10


def test_a_row_of_the_wrong_length_is_refused(renderer: FaceRenderer) -> None:
    with pytest.raises(ValueError, match="motion"):
        renderer.draw(np.zeros(7, dtype=np.float32))


@pytest.mark.parametrize("seed", range(4))
def test_noisy_landmarks_still_make_a_face(portrait: Face, seed: int) -> None:
    rng = np.random.default_rng(seed)
    noisy = portrait.landmarks + rng.normal(0.0, 768 * 0.008, portrait.landmarks.shape).astype(
        np.float32
    )
    renderer = FaceRenderer(build_face_maps(portrait.image, noisy, 128))
    assert all(renderer.draw(motion(name)).std() > 10 for name in VISEMES)
