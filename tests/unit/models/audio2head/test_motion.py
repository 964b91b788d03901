"""Audio2Head's motion in a live turn against that of a whole file: what the networks are shown,
when, and how often.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from scripted_audio2head import (
    SPEC,
    Networks,
    embedding,
    hear,
    hiss,
    key_points,
    pose,
    skip,
    speech,
    step,
    turn_of,
)

from orchestrator.inference import Tensors
from orchestrator.models.audio2head.chunks import chunk_audio, chunk_poses, chunks
from orchestrator.models.audio2head.features import audio_features, frame_blocks
from orchestrator.models.audio2head.motion import Source, Track, follow, native_frames
from orchestrator.models.audio2head.pose_boxes import box_picture, denormalised
from orchestrator.models.audio2head.streaming_features import block_count, sound_around
from orchestrator.pipeline.turn import Turn

pytestmark = pytest.mark.slow

PICTURE = np.random.default_rng(6).integers(0, 256, (256, 256, 3)).astype(np.uint8)
SOURCE = Source(PICTURE, np.zeros(6, np.float32), np.full(256, 0.1, np.float32))
SHORT, LONG = speech(1.5), speech(3.2)
LONG_FRAMES = 80


def moved(
    networks: Networks, turn: Turn, frames: int, track: Track | None = None
) -> tuple[np.ndarray, Track]:
    """Key points `[frames, 10, 2]` of the turn's next frames."""

    async def follow_all() -> tuple[np.ndarray, Track]:
        nonlocal track
        points = []
        for _ in range(frames):
            windows = step(turn)
            slot, phase = int(windows.slot[0]), float(windows.phase[0])
            track, at = await follow(
                networks.infer,
                SOURCE,
                track,
                sound_around(windows.rows[0], slot),
                native_frames(slot, phase),
            )
            points.append(at.value)
        assert track is not None
        return np.stack(points), track

    return asyncio.run(follow_all())


def upstream(samples: np.ndarray) -> tuple[np.ndarray, list[Tensors]]:
    """Key points of every frame of a whole file, and what the chunk network is shown, as upstream's
    program chains them.
    """
    blocks = frame_blocks(audio_features(samples))
    poses, vector = [SOURCE.pose], SOURCE.vector[None]
    hidden = cell = np.zeros((1, 2, 256), np.float32)
    for heard in embedding(blocks)["embedding"]:
        answer = pose(heard[None], vector, hidden, cell)
        vector, hidden, cell = answer["next_vector"], answer["next_hidden"], answer["next_cell"]
        poses.append(answer["pose"][0])
    boxes = np.stack([box_picture(row) for row in denormalised(np.stack(poses))])
    parts = chunks(len(blocks))
    shown = [
        {
            "audio": chunk_audio(blocks, part)[None],
            "boxes": chunk_poses(boxes, part)[None],
            "picture": PICTURE[None],
        }
        for part in parts
    ]
    points = [
        key_points(**inputs)["key_points"][0, list(part.kept)]
        for inputs, part in zip(shown, parts, strict=True)
    ]
    return np.concatenate(points), shown


@pytest.fixture(scope="module")
def whole() -> tuple[np.ndarray, Networks]:
    networks = Networks()
    return moved(networks, turn_of(LONG), LONG_FRAMES)[0], networks


def test_an_utterance_that_fits_into_the_look_ahead_is_moved_exactly_as_upstream_moves_it() -> None:
    networks = Networks()
    wanted, shown = upstream(SHORT)
    points, _ = moved(networks, turn_of(SHORT), 38)
    for asked, inputs in zip(networks.of("key_points"), shown, strict=True):
        np.testing.assert_array_equal(asked["boxes"], inputs["boxes"])
        np.testing.assert_allclose(asked["audio"], inputs["audio"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(points[: len(wanted)], wanted, atol=1e-5)
    np.testing.assert_array_equal(
        points[len(wanted) :], points[[len(wanted) - 1] * (38 - len(wanted))]
    )


def test_a_longer_one_differs_by_the_level_and_the_pitch_known_so_far_alone(
    whole: tuple[np.ndarray, Networks],
) -> None:
    _, shown = upstream(LONG)
    early, *complete = whole[1].of("key_points")
    np.testing.assert_array_equal(early["audio"][0, 48:], 0)
    for asked, inputs in zip(complete, shown, strict=True):
        spectrum, pitch, voiced = (
            np.abs(asked["audio"] - inputs["audio"])[..., part] for part in (slice(39), 39, 40)
        )
        assert np.median(spectrum) < 0.002
        assert np.quantile(spectrum, 0.95) < 0.1
        assert (pitch > 1.0).mean() < 0.1
        assert voiced.mean() < 0.05


def test_every_chunk_is_asked_for_once_and_the_first_one_twice(
    whole: tuple[np.ndarray, Networks],
) -> None:
    _, networks = whole
    frames = block_count(len(LONG))
    assert len(networks.of("key_points")) == 1 + len(chunks(frames))
    assert (
        len(networks.of("pose"))
        == sum(len(inputs["audio"]) for inputs in networks.of("embedding"))
        == frames
    )


def test_frames_come_2_s_after_their_sound_wherever_in_a_chunk() -> None:
    assert SPEC.look_ahead_ms == pytest.approx(2040.0)
    turn, networks, track, drawn = turn_of(LONG[:0], finished=False), Networks(), None, 0
    for number in range(30):
        hear(turn, LONG[1600 * number :][:1600], number)
        ready = turn.frames_ready(SPEC, 8)
        if ready:
            _, track = moved(networks, turn, ready, track)
        drawn += ready
        assert drawn == max(0, 1600 * (number + 1) // 640 - 50)


def test_at_another_rate_a_frame_lies_between_two_of_25_fps() -> None:
    native, _ = moved(Networks(), turn_of(SHORT), 36)
    twenty, _ = moved(Networks(), turn_of(SHORT, 20.0), 28)
    for frame, points in enumerate(twenty):
        place = (frame + 0.5) / 20.0 * 25.0 - 0.5
        before, share = int(place), place % 1.0
        np.testing.assert_allclose(
            points, (1 - share) * native[before] + share * native[before + 1], atol=1e-5
        )


@pytest.mark.parametrize("first", [10, 47])
def test_taking_over_before_much_was_said_is_the_same_as_having_spoken_all_along(
    first: int, whole: tuple[np.ndarray, Networks]
) -> None:
    networks = Networks()
    late, _ = moved(networks, skip(turn_of(LONG), first), 4)
    assert np.median(np.abs(late - whole[0][first : first + 4])) < 0.01
    assert len(networks.of("key_points")) <= 2


def test_taking_over_later_the_head_begins_where_the_picture_has_it_before_the_chunk() -> None:
    networks = Networks()
    _, track = moved(networks, skip(turn_of(LONG), 78), 1)
    np.testing.assert_array_equal(networks.of("pose")[0]["vector"][0], SOURCE.vector)
    assert track.heard.first == track.head.first == 32


def test_after_a_short_pause_of_another_model_the_head_goes_on(
    whole: tuple[np.ndarray, Networks],
) -> None:
    networks, turn = Networks(), turn_of(LONG)
    _, track = moved(networks, turn, 2)
    points, track = moved(networks, skip(turn, 56), 4, track)
    assert track.head.first == 0
    assert np.median(np.abs(points - whole[0][58:62])) < 0.01


def test_after_a_long_pause_it_begins_anew_at_the_turn_s_level() -> None:
    networks, turn = Networks(), turn_of(np.concatenate([hiss(2.5), hiss(6.4) // 50]))
    _, track = moved(networks, turn, 1)
    asked = len(networks.of("pose"))
    _, later = moved(networks, skip(turn, 130), 1, track)
    np.testing.assert_array_equal(networks.of("pose")[asked]["vector"][0], SOURCE.vector)
    assert later.heard.level.peak == pytest.approx(track.heard.level.peak, rel=0.01)


def test_sound_that_follows_a_silence_is_heard_although_the_end_was_thought_to_be_reached() -> None:
    samples = np.concatenate([hiss(1.0), np.zeros(48_000, np.int16), hiss(1.5)])
    networks, turn = Networks(), turn_of(samples)
    _, track = moved(networks, turn, 8)
    assert track.heard.end == block_count(16_000)
    _, track = moved(networks, skip(turn, 50), 2, track)
    assert track.heard.end == 96
