"""What Audio2Head hears and is shown, without its networks."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from project_root import ROOT

from export.reference import Reference
from orchestrator.models.audio2head.chunks import CHUNK_FRAMES, chunk_audio, chunk_poses, chunks
from orchestrator.models.audio2head.features import (
    audio_features,
    feature_rows,
    filled,
    frame_blocks,
    normalised,
)
from orchestrator.models.audio2head.harvest_pitch import harvest
from orchestrator.models.audio2head.pose_boxes import (
    POSE_MAX,
    POSE_MIN,
    box_picture,
    box_points,
    denormalised,
)

RECORDS = ROOT / "tests" / "data" / "reference" / "audio2head"
TIME_S = np.arange(16_000) / 16_000
FACING = np.array([0, 0, 0, 0, 0, 280], np.float32)


def _voice(pitch_hz: float) -> np.ndarray:
    return np.sum([np.sin(2 * np.pi * k * pitch_hz * TIME_S) / k for k in range(1, 8)], axis=0)


@pytest.mark.parametrize("pitch_hz", [90.0, 200.0, 440.0])
def test_harvest_finds_a_steady_pitch(pitch_hz: float) -> None:
    found = harvest(_voice(pitch_hz))
    assert len(found) == 101
    np.testing.assert_allclose(found[20:80], pitch_hz, rtol=0.002)


def test_silence_and_noise_have_no_pitch() -> None:
    assert not harvest(np.zeros(3200)).any()
    assert (harvest(np.random.default_rng(1).standard_normal(16_000)) > 0).mean() < 0.2


def test_harvest_equals_world() -> None:
    pyworld = pytest.importorskip(
        "pyworld", reason="pyworld is not installed; it comes with the extra 'export'"
    )
    glide = np.sin(2 * np.pi * np.cumsum(150 + 80 * np.sin(4 * TIME_S)) / 16_000) * (
        np.sin(12 * TIME_S) > -0.3
    )
    signal = glide + 0.02 * np.random.default_rng(2).standard_normal(16_000)
    wanted, _ = pyworld.harvest(signal, 16_000, f0_floor=71.0, f0_ceil=800.0, frame_period=10.0)
    assert (wanted > 0).any()
    np.testing.assert_allclose(harvest(signal), wanted, atol=1e-6)


@pytest.mark.slow
def test_pitch_and_rows_are_upstream_s_records() -> None:
    reference = Reference(RECORDS, seed=1)
    signal = normalised(reference.records["raw.wav_int16"])
    pitch_hz = harvest(signal)
    for key, made in (
        ("audio_features.f0_raw", pitch_hz),
        ("audio_features.features", feature_rows(signal, pitch_hz)),
    ):
        assert reference.error(key, made) <= reference.tolerance(key), key


def test_unvoiced_stretches_are_bridged() -> None:
    np.testing.assert_array_equal(
        filled(np.array([0.0, 100.0, 0.0, 0.0, 130.0, 0.0])), [100, 100, 110, 120, 130, 130]
    )
    assert not filled(np.zeros(4)).any()


def test_a_second_of_sound_makes_24_blocks() -> None:
    sound = (8_000 * _voice(150.0)).astype(np.int16)
    rows = audio_features(sound)
    assert rows.shape == (99, 41)
    assert np.isfinite(rows).all()
    assert frame_blocks(rows).shape == (24, 4, 41)


def test_silence_and_a_sound_shorter_than_a_frame_have_finite_features() -> None:
    assert np.isfinite(audio_features(np.zeros(100, np.int16))).all()
    assert np.abs(normalised(np.array([3, -1, 1], np.int16))).max() == 1.0


@pytest.mark.parametrize("frames", [1, 47, 48, 49, 59, 64, 80, 81, 200])
def test_every_frame_comes_from_one_chunk(frames: int) -> None:
    assert [chunk.first + local for chunk in chunks(frames) for local in chunk.kept] == list(
        range(frames)
    )


def test_behind_the_end_there_is_silence_and_the_last_pose() -> None:
    second = chunks(59)[1]
    blocks, poses = np.ones((59, 4, 41), np.float32), np.arange(60, dtype=np.float32)[:, None]
    audio, shown = chunk_audio(blocks, second), chunk_poses(poses, second)
    assert audio.shape == (CHUNK_FRAMES, 4, 41)
    assert audio[:27].all()
    assert not audio[27:].any()
    assert shown[:, 0].tolist() == [*range(32, 60), *[59] * 36]


def test_a_pose_s_range_is_the_training_set_s() -> None:
    np.testing.assert_allclose(denormalised(np.full(6, -1, np.float32)), POSE_MIN, atol=1e-5)
    np.testing.assert_allclose(denormalised(np.full(6, 1, np.float32)), POSE_MAX, atol=1e-4)


def test_a_head_that_faces_the_camera_is_a_square_in_a_square() -> None:
    points, picture = box_points(FACING), box_picture(FACING)
    assert points[0].tolist() == [65, 65]
    assert points[7].tolist() == [189, 189]
    assert set(np.unique(picture)) == {0, 255}
    assert picture[66, 100] == 255
    assert picture[128, 128] == 0


def test_boxes_that_leave_the_picture_are_drawn_as_the_training_pictures_were() -> None:
    """The checksum was taken with `cv2.polylines` and `cv2.line` of OpenCV 4.11 on the same
    poses.
    """
    poses = denormalised(np.random.default_rng(3).uniform(-1.2, 1.2, (200, 6)).astype(np.float32))
    points = np.stack([box_points(pose) for pose in poses])
    assert ((points < 0) | (points > 255)).any(axis=(1, 2)).mean() > 0.5
    pictures = np.stack([box_picture(pose) for pose in poses])
    assert zlib.crc32(np.packbits(pictures > 0).tobytes()) == 2_512_193_668
