"""What happens around SadTalker's networks: windows, blinks, head motion, coefficients, cuts."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from project_root import ROOT

from export.reference import Reference
from orchestrator.models.sadtalker.coefficients import coefficient_windows, driving_rows
from orchestrator.models.sadtalker.face import (
    aligned_face,
    alignment,
    cut,
    face_square,
    resized_bicubic,
)
from orchestrator.models.sadtalker.features import (
    blink_ratio,
    frame_count,
    mel_windows,
    reference_rows,
    window_starts,
)
from orchestrator.models.sadtalker.pose import joined_pose, pose_chunks, smoothed

RECORDS = ROOT / "tests" / "data" / "reference" / "sadtalker"


def _landmarks(centre: tuple[float, float], size: float) -> np.ndarray:
    """68 points of which only eyes, nose and mouth stand apart."""
    points = np.zeros((68, 2))
    points[36:42], points[42:48], points[30] = (-0.3, -0.25), (0.3, -0.25), (0.0, 0.1)
    points[48], points[54] = (-0.22, 0.38), (0.22, 0.38)
    return (points * size + centre).astype(np.float32)


def test_the_first_windows_start_before_the_sound() -> None:
    assert window_starts(6).tolist() == [-6, -3, 0, 3, 6, 9]


def test_windows_repeat_the_ends_of_the_sound() -> None:
    mel = np.arange(20, dtype=np.float32)[:, None].repeat(80, axis=1)
    windows = mel_windows(mel, 6)
    assert windows.shape == (6, 1, 80, 16)
    assert windows[0, 0, 0].tolist() == [0.0] * 7 + list(range(1, 10))
    assert windows[5, 0, 0].tolist() == [*range(9, 20), 19, 19, 19, 19, 19]


def test_a_rest_shorter_than_a_video_frame_is_not_spoken() -> None:
    assert [frame_count(samples) for samples in (639, 640, 1279, 1280)] == [0, 1, 1, 2]


@pytest.mark.parametrize("frames", [0, 1, 20, 21])
def test_short_clips_do_not_blink(frames: int) -> None:
    assert not blink_ratio(frames, Random(1)).any()


def test_lids_are_open_at_both_ends_and_between_blinks() -> None:
    for seed in range(20):
        ratio = blink_ratio(200, Random(seed))
        assert ratio[0] == ratio[-1] == 0.0
        assert 0 < np.count_nonzero(ratio == 1.0) <= 200 // 15


def test_a_filmed_face_lends_its_expression_and_nothing_else() -> None:
    source, film = (
        np.full(73, 2.0, np.float32),
        np.arange(3, dtype=np.float32)[:, None].repeat(73, axis=1),
    )
    rows = reference_rows(source, 5, film)
    assert rows.shape == (5, 70)
    assert rows[:, 0].tolist() == [0.0, 1.0, 2.0, 0.0, 1.0]
    assert (rows[:, 64:] == 2.0).all()


@pytest.mark.parametrize(
    ("frames", "chunks"), [(1, 0), (2, 1), (32, 1), (33, 1), (34, 2), (65, 2), (66, 3)]
)
def test_head_motion_covers_every_frame_once(frames: int, chunks: int) -> None:
    windows = (
        np.arange(frames, dtype=np.float32)
        .reshape(-1, 1, 1, 1)
        .repeat(80, axis=2)
        .repeat(16, axis=3)
    )
    inputs = pose_chunks(windows)
    assert inputs.shape == (chunks, 32, 1, 80, 16)
    # A network that answers with the number of the window it sees.
    motion = inputs[:, :, 0, 0, :6]
    pose = joined_pose(motion, np.full(6, 100.0, np.float32), frames)
    assert pose[:, 0].tolist() == [100.0 + frame for frame in range(frames)]


@pytest.mark.parametrize("frames", [1, 2, 3, 9, 13, 40])
def test_smoothing_keeps_an_even_turn(frames: int) -> None:
    pose = np.linspace(0.0, 1.0, frames, dtype=np.float32)[:, None].repeat(6, axis=1)
    np.testing.assert_allclose(smoothed(pose), pose, atol=1e-6)


@pytest.mark.parametrize("frames", [3, 4, 5, 12, 13, 14, 200])
def test_smoothing_is_savitzky_golay_s(frames: int) -> None:
    signal = pytest.importorskip(
        "scipy.signal", reason="SciPy is not installed: pip install -e .[dev]"
    )
    pose = np.random.default_rng(frames).normal(0.0, 0.3, (frames, 6)).astype(np.float32)
    width = min(13, frames - 1 + frames % 2)
    np.testing.assert_allclose(
        smoothed(pose),
        signal.savgol_filter(pose.astype(np.float64), width, 2, axis=0),
        rtol=0,
        atol=1e-7,
    )


@pytest.mark.parametrize("frames", [75, 20, 9])
def test_smoothed_poses_are_upstream_s_records(frames: int) -> None:
    reference = Reference(RECORDS, seed=1)
    key = f"audio2pose_sequence.smooth_T{frames}"
    smooth = smoothed(reference.records[f"audio2pose_sequence.pose_T{frames}"][0])
    assert reference.error(key, smooth[None]) <= reference.tolerance(key)


def test_a_still_head_keeps_the_photo_s_pose_and_crop() -> None:
    generated, source = np.ones((4, 70), np.float32), np.arange(73, dtype=np.float32)
    rows = driving_rows(generated, source, width=73, expression_scale=0.5, still=True)
    assert (rows[:, :64] == 0.5).all()
    assert (rows[:, 64:] == source[64:]).all()
    moving = driving_rows(generated, source, width=70, expression_scale=1.0, still=False)
    assert (moving == 1.0).all()


def test_coefficient_windows_reach_half_a_second_to_each_side() -> None:
    windows = coefficient_windows(np.arange(40, dtype=np.float32)[:, None])
    assert windows.shape == (40, 1, 27)
    assert windows[20, 0].tolist() == list(range(7, 34))
    assert windows[0, 0].tolist() == [0] * 14 + list(range(1, 14))


def test_the_square_is_cut_around_the_face() -> None:
    photo = np.zeros((480, 640, 3), np.uint8)
    square = face_square(_landmarks((320, 240), 120), 640, 480)
    left, top, right, bottom = square.box
    assert left < 320 < right and top < 240 < bottom
    assert square.size == (640, 480)
    plain, wide = cut(photo, square, with_border=False), cut(photo, square, with_border=True)
    assert abs(plain.shape[0] - plain.shape[1]) <= 1
    assert plain.shape[0] < wide.shape[0] < 480


def test_a_large_photo_is_shrunk_first() -> None:
    square = face_square(_landmarks((3000, 2000), 900), 6000, 4000)
    assert square.size == (3000, 2000)


def test_a_face_at_the_edge_stays_in_the_photo() -> None:
    square = face_square(_landmarks((20, 20), 120), 640, 480)
    assert square.box[:2] == (0, 0)
    assert min(square.quad) >= 0.0


def test_alignment_puts_the_face_in_the_middle() -> None:
    picture = np.zeros((256, 256, 3), np.uint8)
    landmarks = _landmarks((90, 120), 100)
    picture[110:130, 80:100] = 255
    aligned = aligned_face(picture, alignment(landmarks, 256, 256))
    assert aligned.shape == (224, 224, 3)
    rows, columns = np.nonzero(aligned[..., 0] > 128)
    assert abs(rows.mean() - 112) < 30
    assert abs(columns.mean() - 112) < 8


def test_bicubic_keeps_flat_pictures_and_overshoots_no_byte() -> None:
    flat = np.full((5, 7, 3), 77, np.uint8)
    assert (resized_bicubic(flat, 13, 4) == 77).all()
    edge = np.zeros((8, 8, 3), np.uint8)
    edge[:, 4:] = 255
    large = resized_bicubic(edge, 32, 32)
    assert (large[:, :8] == 0).all() and (large[:, -8:] == 255).all()
