"""The last resort: every face that has a picture is shown, whatever its points are."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import numpy as np
import pytest
from demo_face import demo_face, frame_windows, small_face

from orchestrator.core.types import FaceModel, Keypoint, Resolution
from orchestrator.models.static.adapter import (
    BarePhoto,
    Static,
    StaticFace,
    bare_photo,
    prepare_static_face,
)

SPEC = Static.spec


async def nobody(model: str, inputs: Any) -> dict[str, Any]:
    raise AssertionError("no network is asked")


def with_points(change: Any) -> FaceModel:
    """The demo face with points `change`d in number: `[478, 2]` to the same."""
    face = demo_face()
    places = change(np.array([(point.x, point.y) for point in face.keypoints]))
    return dataclasses.replace(
        face, keypoints=tuple(Keypoint(float(x), float(y)) for x, y in places)
    )


def eyes_far_away(places: Any) -> Any:
    places[[33, 133, 263, 362]] = (1e300, -1e300)
    return places


WRONG = {
    "all in one place": lambda places: np.full_like(places, 300.0),
    "in one column": lambda places: places * (0.0, 1.0) + (300.0, 0.0),
    "eyes beyond all pictures": eyes_far_away,
    "far outside": lambda places: places * 1e6,
    "infinite": lambda places: places * np.inf,
    "a speck": lambda places: (places - 384.0) * 0.01 + 384.0,
}


@pytest.mark.parametrize("size", [128, 256, 512])
@pytest.mark.parametrize("change", WRONG.values(), ids=list(WRONG))
def test_a_face_whose_points_make_no_face_is_shown_as_its_photo(change: Any, size: int) -> None:
    face = Static().prepare(with_points(change), size)
    frames, _ = asyncio.run(
        Static().generate(nobody, frame_windows(SPEC, [True, False, True]), face, None)
    )
    assert isinstance(face, BarePhoto)
    assert (frames.shape, frames.dtype) == ((3, size, size, 3), np.uint8)
    whole = bare_photo(demo_face(), size).photo
    assert all(np.array_equal(frame, whole) for frame in frames)
    assert face.nbytes == whole.nbytes


def test_the_photo_is_cut_as_a_drawn_face_is() -> None:
    face = small_face()
    drawn, photo = prepare_static_face(face, 256).at_rest().astype(int), bare_photo(face, 256).photo
    assert np.abs(drawn - photo).mean() < 3.0


def test_a_picture_of_few_pixels_is_shown_too() -> None:
    speck = dataclasses.replace(
        demo_face(), neutral_pose=np.full((3, 5, 3), 77, np.uint8), resolution=Resolution(5, 3)
    )
    assert (Static().prepare(speck, 256).at_rest() == 77).all()


def test_a_good_face_is_drawn() -> None:
    assert isinstance(Static().prepare(demo_face(), 256), StaticFace)
