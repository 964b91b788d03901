"""The renderer as a server sees it: faces by hash, bounded memory, typed refusals, a test card with
a known answer.
"""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from rendering_faces import Face, motion

from orchestrator.rendering.build_face_maps import build_face_maps
from orchestrator.rendering.face_maps import FaceMaps
from orchestrator.rendering.face_renderer import FaceRenderer
from orchestrator.rendering.frame_centres import spoken_motion
from orchestrator.rendering.motion import MOTION_PARAMETERS
from orchestrator.rendering.renderer_cache import RendererCache, UnknownFaceError
from orchestrator.rendering.test_card import CARD_FACE, card_frame


def _rows(*digests: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32)


def _blob(maps: FaceMaps) -> NDArray[np.uint8]:
    return np.frombuffer(maps.to_bytes(), dtype=np.uint8)[None]


@pytest.fixture(scope="module")
def faces(portrait: Face) -> list[FaceMaps]:
    return [
        build_face_maps(np.roll(portrait.image, shift, axis=2), portrait.landmarks, 128)
        for shift in range(3)
    ]


def test_an_unknown_face_is_named_by_its_hash(faces: list[FaceMaps]) -> None:
    with pytest.raises(UnknownFaceError, match=f"unknown face {faces[0].digest.hex()}"):
        RendererCache().draw(motion()[None], _rows(faces[0].digest))


def test_maps_are_remembered_after_one_request(faces: list[FaceMaps]) -> None:
    renderers = RendererCache()
    renderers.draw(motion()[None], _rows(faces[0].digest), _blob(faces[0]))
    frames = renderers.draw(
        np.stack([motion("aa"), motion("ou")]), _rows(faces[0].digest, faces[0].digest)
    )
    assert np.array_equal(frames[1], FaceRenderer(faces[0]).draw(motion("ou")))


def test_rows_of_one_request_may_name_different_faces(faces: list[FaceMaps]) -> None:
    renderers = RendererCache()
    for maps in faces[:2]:
        renderers.put(maps.digest, maps.to_bytes())
    frames = renderers.draw(
        np.stack([motion("aa"), motion("aa")]), _rows(faces[0].digest, faces[1].digest)
    )
    assert not np.array_equal(frames[0], frames[1])


def test_speech_is_drawn_as_its_motion_is_with_the_frames_of_a_row_one_below_the_other(
    faces: list[FaceMaps],
) -> None:
    renderers, rows = RendererCache(), _rows(faces[0].digest, faces[1].digest)
    for maps in faces[:2]:
        renderers.put(maps.digest, maps.to_bytes())
    steps = np.random.default_rng(1).random((2, 16, 7), dtype=np.float32)
    moments = np.zeros((2, 2, 5), np.float32)
    moments[:, :, 0] = (6.2, 11.4)
    pictures = renderers.speak(steps, moments, rows)
    assert pictures.shape == (2, 2 * 128, 128, 3)
    np.testing.assert_array_equal(
        pictures.reshape(4, 128, 128, 3),
        renderers.draw(spoken_motion(steps, moments), np.repeat(rows, 2, axis=0)),
    )


def test_a_request_that_says_nothing_of_the_mouth_is_refused(faces: list[FaceMaps]) -> None:
    with pytest.raises(ValueError, match="motion"):
        RendererCache().draw(None, _rows(faces[0].digest))
    for moments in (None, np.zeros((1, 0, 5), np.float32)):
        with pytest.raises(ValueError, match="moments"):
            RendererCache().speak(np.zeros((1, 16, 7), np.float32), moments, _rows(faces[0].digest))


def test_maps_of_another_face_are_refused(faces: list[FaceMaps]) -> None:
    with pytest.raises(ValueError, match="hash"):
        RendererCache().draw(motion()[None], _rows(faces[0].digest), _blob(faces[1]))


def test_maps_for_several_rows_are_refused(faces: list[FaceMaps]) -> None:
    with pytest.raises(ValueError, match="rows"):
        RendererCache().draw(
            np.stack([motion(), motion()]), _rows(faces[0].digest, faces[0].digest), _blob(faces[0])
        )


def test_rows_of_different_sizes_are_refused(faces: list[FaceMaps]) -> None:
    renderers = RendererCache()
    renderers.put(faces[0].digest, faces[0].to_bytes())
    with pytest.raises(ValueError, match="different sizes"):
        renderers.draw(np.stack([motion(), motion()]), _rows(faces[0].digest, CARD_FACE))


def test_the_face_used_longest_ago_is_dropped_first(faces: list[FaceMaps]) -> None:
    renderers = RendererCache(max_faces=2)
    renderers.put(faces[0].digest, faces[0].to_bytes())
    renderers.put(faces[1].digest, faces[1].to_bytes())
    renderers.get(faces[0].digest)
    renderers.put(faces[2].digest, faces[2].to_bytes())
    renderers.get(faces[0].digest)
    with pytest.raises(UnknownFaceError):
        renderers.get(faces[1].digest)


def test_memory_is_bounded_by_bytes_too(faces: list[FaceMaps]) -> None:
    renderers = RendererCache(max_map_bytes=len(faces[0].to_bytes()) + 1)
    for maps in faces:
        renderers.put(maps.digest, maps.to_bytes())
    assert len(renderers) == 1
    renderers.get(faces[2].digest)


def test_the_test_card_needs_no_face_and_answers_exactly() -> None:
    rows = np.linspace(0.0, 1.0, 2 * len(MOTION_PARAMETERS), dtype=np.float32).reshape(2, -1)
    frames = RendererCache().draw(rows, _rows(CARD_FACE, CARD_FACE))
    assert np.array_equal(frames, np.stack([card_frame(row) for row in rows]))
    assert not np.array_equal(frames[0], frames[1])
