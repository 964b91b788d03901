"""The mouth: shut at rest and for m/b/p, open as far as it is told, whole at its corners, and still
elsewhere.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from rendering_faces import Face, green_inside, inside, motion

from orchestrator.rendering.build_face_maps import build_face_maps
from orchestrator.rendering.face_renderer import FaceRenderer
from orchestrator.rendering.landmarks import LOWER_LIP_INNER, UPPER_LIP_INNER
from orchestrator.rendering.motion import VISEMES
from orchestrator.rendering.mouth_shape import mouth_shape


def _downscaled(face: Face, size: int) -> np.ndarray:
    return cv2.resize(face.image, (size, size), interpolation=cv2.INTER_AREA)


def test_a_resting_face_is_its_photo(portrait: Face, renderer: FaceRenderer) -> None:
    difference = np.abs(renderer.draw(motion()).astype(int) - _downscaled(portrait, 256))
    assert difference.mean() < 1.0
    assert np.percentile(difference, 99) <= 12  # resampling of strands of hair


def test_speech_leaves_everything_but_the_lower_face_alone(renderer: FaceRenderer) -> None:
    rest, open_wide = renderer.draw(motion()), renderer.draw(motion("aa"))
    x, y, width, height = renderer.maps.mouth_box
    changed = np.abs(rest.astype(int) - open_wide).max(axis=2) > 0
    changed[y : y + height, x : x + width] = False
    assert not changed.any()


def test_the_shoulders_do_not_follow_the_jaw(portrait: Face, renderer: FaceRenderer) -> None:
    rest, open_wide = renderer.draw(motion()), renderer.draw(motion("aa"))
    collar = int(
        np.ceil((portrait.landmarks[152, 1] / 768 * 256) + 1.15 * renderer.maps.mouth_frame[4])
    )
    assert np.abs(rest[collar:].astype(int) - open_wide[collar:]).max() <= 6


@pytest.mark.parametrize("viseme", ["sil", "PP"])
@pytest.mark.parametrize("which", ["portrait", "toothy"])
def test_closed_lips_show_nothing_of_the_inside(
    viseme: str, which: str, request: pytest.FixtureRequest
) -> None:
    face: Face = request.getfixturevalue(which)
    renderer = green_inside(build_face_maps(face.image, face.landmarks, 256))
    assert not inside(renderer.draw(motion(viseme))).any()


def test_closing_wins_over_any_vowel(portrait: Face) -> None:
    renderer = green_inside(build_face_maps(portrait.image, portrait.landmarks, 256))
    assert not inside(renderer.draw(motion("aa", closed=1.0))).any()
    assert not inside(renderer.draw(motion("ou", closed=1.0))).any()


def test_a_photographed_smile_shows_no_teeth_at_rest(toothy: Face) -> None:
    renderer = FaceRenderer(build_face_maps(toothy.image, toothy.landmarks, 256))
    x, y = (int(v) for v in toothy.landmarks[[13, 14]].mean(axis=0) / 2)
    lips = renderer.draw(motion())[y - 6 : y + 12, x - 8 : x + 8].astype(int)
    redness = lips[..., 0] - lips[..., 1]
    assert redness.min() > 15  # teeth are grey: their red and green are alike


@pytest.mark.parametrize("size", [128, 256, 512])
@pytest.mark.parametrize("which", ["portrait", "toothy"])
def test_the_gap_follows_the_opening_in_a_straight_line(
    which: str, size: int, request: pytest.FixtureRequest
) -> None:
    face: Face = request.getfixturevalue(which)
    renderer = green_inside(build_face_maps(face.image, face.landmarks, size))
    opening = np.linspace(0.0, 1.0, 11)
    column = round(float(renderer.maps.mouth_frame[0]))
    gaps = [
        inside(renderer.draw(motion(open=value, jaw=0.9 * value)))[:, column].sum()
        for value in opening
    ]
    assert np.diff(gaps).min() >= 0
    assert np.corrcoef(opening, gaps)[0, 1] > 0.98
    assert gaps[2] >= size / 128


@pytest.mark.parametrize("viseme", [name for name in VISEMES if name not in ("sil", "PP")])
def test_the_opening_is_one_piece_without_slivers(viseme: str, portrait: Face) -> None:
    renderer = green_inside(build_face_maps(portrait.image, portrait.landmarks, 256))
    count, _, stats, _ = cv2.connectedComponentsWithStats(
        inside(renderer.draw(motion(viseme))).astype(np.uint8), connectivity=8
    )
    assert count == 2
    assert stats[1, cv2.CC_STAT_AREA] > 20


@pytest.mark.parametrize("error_px", [-6.0, 6.0])
def test_the_line_between_closed_lips_is_found_where_landmarks_miss_it(
    portrait: Face, error_px: float
) -> None:
    missed = portrait.landmarks.copy()
    missed[list(UPPER_LIP_INNER[1:-1] + LOWER_LIP_INNER[1:-1]), 1] += error_px
    seams = [
        mouth_shape(points.astype(np.float64), portrait.image).seam
        for points in (portrait.landmarks, missed)
    ]
    unit = np.hypot(*(portrait.landmarks[291] - portrait.landmarks[61])) / 2
    assert np.abs(seams[1] - seams[0])[2:-2, 1].max() * unit < 0.4 * abs(error_px)


def test_rounding_narrows_the_mouth(portrait: Face) -> None:
    renderer = green_inside(build_face_maps(portrait.image, portrait.landmarks, 256))
    widths = [
        np.ptp(np.nonzero(inside(renderer.draw(motion(open=0.3, round=value))).any(axis=0))[0])
        for value in (0.0, 0.5, 1.0)
    ]
    assert widths[1] < 0.92 * widths[0]
    assert widths[2] < 0.72 * widths[0]


def test_visemes_of_different_sound_look_different(renderer: FaceRenderer) -> None:
    frames = {
        name: renderer.draw(motion(name)).astype(float)
        for name in ("PP", "FF", "SS", "CH", "aa", "E", "oh", "ou")
    }
    x, y, width, height = renderer.maps.mouth_box
    for first in frames:
        for second in frames:
            apart = np.abs(frames[first] - frames[second])[y : y + height, x : x + width].mean()
            assert first == second or apart > 0.8, (first, second)
