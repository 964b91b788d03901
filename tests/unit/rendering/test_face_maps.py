"""Face maps: made from any usable photo, sent as bytes, refused when damaged."""

from __future__ import annotations

import struct
from dataclasses import replace

import cv2
import numpy as np
import pytest
from rendering_faces import Face, motion

from orchestrator.rendering.build_face_maps import build_face_maps
from orchestrator.rendering.face_maps import ARRAYS, FaceMaps
from orchestrator.rendering.face_renderer import FaceRenderer


def _offset_of(blob: bytearray, wanted: str) -> int:
    """Where the dimensions of an array stand in the blob; its values follow 8 bytes later."""
    offset = 7
    for name, dtype, ndim in ARRAYS:
        if name == wanted:
            return offset
        dims = struct.unpack_from("<4H", blob, offset)[:ndim]
        offset += 8 + int(np.prod(dims)) * np.dtype(dtype).itemsize
    raise AssertionError(wanted)


def test_a_round_trip_changes_nothing(renderer: FaceRenderer) -> None:
    blob = renderer.maps.to_bytes()
    again = FaceMaps.from_bytes(blob)
    assert again.to_bytes() == blob
    assert again.digest == renderer.maps.digest
    assert np.array_equal(
        FaceRenderer(again).draw(motion("E", blink=0.4)), renderer.draw(motion("E", blink=0.4))
    )


def test_the_same_photo_makes_the_same_maps(portrait: Face, renderer: FaceRenderer) -> None:
    assert build_face_maps(portrait.image, portrait.landmarks, 256).digest == renderer.maps.digest


@pytest.mark.parametrize(("size", "limit"), [(128, 1_000_000), (256, 1_500_000), (512, 6_000_000)])
def test_maps_are_small_enough_to_send(portrait: Face, size: int, limit: int) -> None:
    assert len(build_face_maps(portrait.image, portrait.landmarks, size).to_bytes()) < limit


def test_iris_points_are_not_needed(portrait: Face, renderer: FaceRenderer) -> None:
    assert (
        build_face_maps(portrait.image, portrait.landmarks[:468], 256).digest
        == renderer.maps.digest
    )


@pytest.mark.parametrize("cut", [0, 1, 6, 7, 14, 40, 1000, -1])
def test_cut_off_maps_are_refused(renderer: FaceRenderer, cut: int) -> None:
    with pytest.raises(ValueError, match="face maps"):
        FaceMaps.from_bytes(renderer.maps.to_bytes()[:cut])


def test_bytes_too_many_are_refused(renderer: FaceRenderer) -> None:
    with pytest.raises(ValueError, match="left over"):
        FaceMaps.from_bytes(renderer.maps.to_bytes() + b"\0")


def test_maps_of_another_format_are_refused(renderer: FaceRenderer) -> None:
    blob = bytearray(renderer.maps.to_bytes())
    blob[4] ^= 0xFF
    with pytest.raises(ValueError, match="version"):
        FaceMaps.from_bytes(bytes(blob))


def test_every_array_is_checked_before_it_is_used(renderer: FaceRenderer) -> None:
    for name, _, _ in ARRAYS:
        blob = bytearray(renderer.maps.to_bytes())
        offset = _offset_of(blob, name)
        blob[offset : offset + 2] = struct.pack("<H", 60_000)
        with pytest.raises(ValueError, match="face maps"):
            FaceMaps.from_bytes(bytes(blob))


@pytest.mark.parametrize("name", ["mouth_box", "cavity_box", "lid_boxes"])
@pytest.mark.parametrize("value", [-5, 0, 3, 100_000, 2**31 - 1])
def test_boxes_outside_the_picture_are_refused(
    renderer: FaceRenderer, name: str, value: int
) -> None:
    blob = bytearray(renderer.maps.to_bytes())
    offset = _offset_of(blob, name) + 8
    blob[offset + 8 : offset + 12] = struct.pack("<i", value)
    with pytest.raises(ValueError, match="face maps"):
        FaceMaps.from_bytes(bytes(blob))


def test_a_cavity_beside_the_mouth_is_refused(renderer: FaceRenderer) -> None:
    moved = replace(
        renderer.maps, cavity_box=renderer.maps.cavity_box + np.array([60, 0, 0, 0], dtype=np.int32)
    )
    with pytest.raises(ValueError, match="cavity_box"):
        FaceMaps.from_bytes(moved.to_bytes())


def test_maps_cannot_be_changed(renderer: FaceRenderer) -> None:
    with pytest.raises(ValueError, match="read-only"):
        renderer.maps.image[0, 0] = 0


@pytest.mark.parametrize(
    "name", ["common", "layers", "mouth_frame", "sway", "pivot", "tuck_profile"]
)
def test_values_that_are_no_numbers_are_refused(renderer: FaceRenderer, name: str) -> None:
    blob = bytearray(renderer.maps.to_bytes())
    offset = _offset_of(blob, name) + 8
    blob[offset : offset + 4] = struct.pack("<f", float("nan"))
    with pytest.raises(ValueError, match=name):
        FaceMaps.from_bytes(bytes(blob))


def test_random_bytes_never_do_more_than_raise_value_error(renderer: FaceRenderer) -> None:
    rng = np.random.default_rng(1)
    blob = np.frombuffer(renderer.maps.to_bytes(), dtype=np.uint8)
    for _ in range(60):
        damaged = blob.copy()
        damaged[rng.integers(0, len(blob), 400)] ^= rng.integers(1, 256, 400, dtype=np.uint8)
        try:
            maps = FaceMaps.from_bytes(damaged.tobytes())
        except ValueError:
            continue
        FaceRenderer(maps).draw(motion("aa", blink=1.0, sway_x=0.01))


@pytest.mark.parametrize(("width", "height"), [(1000, 768), (768, 1100)])
def test_a_photo_that_is_not_square_is_cut_around_the_face(
    portrait: Face, width: int, height: int
) -> None:
    wide = np.zeros((height, width, 3), dtype=np.uint8)
    left, top = (width - 768) // 2, (height - 768) // 2
    wide[top : top + 768, left : left + 768] = portrait.image
    landmarks = portrait.landmarks + np.array([left, top], dtype=np.float32)
    mouth = build_face_maps(wide, landmarks, 256).mouth_frame
    center = (landmarks.min(axis=0) + landmarks.max(axis=0)) / 2.0
    expected = 128 + (landmarks[[61, 291]].mean(axis=0) - center) / 3.0
    assert np.abs(mouth[:2] - expected)[int(height > width)] < 1.0
    assert mouth[4] == pytest.approx(np.hypot(*(landmarks[291] - landmarks[61])) / 6.0, rel=1e-3)


@pytest.mark.parametrize("degrees", [-12, 12])
def test_a_tilted_head_opens_its_mouth_along_its_own_axis(portrait: Face, degrees: float) -> None:
    turn = cv2.getRotationMatrix2D((384, 384), degrees, 1.0)
    image = cv2.warpAffine(portrait.image, turn, (768, 768), borderMode=cv2.BORDER_REPLICATE)
    landmarks = (portrait.landmarks @ turn[:, :2].T + turn[:, 2]).astype(np.float32)
    tilted = FaceRenderer(build_face_maps(image, landmarks, 256)).draw(motion("aa"))
    straight = FaceRenderer(build_face_maps(portrait.image, portrait.landmarks, 256)).draw(
        motion("aa")
    )
    small = cv2.getRotationMatrix2D((127.5, 127.5), degrees, 1.0)
    expected = cv2.warpAffine(straight, small, (256, 256), borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(tilted.astype(int) - expected)[40:220, 40:220].mean() < 3.0


@pytest.mark.parametrize(
    ("landmarks", "reason"),
    [
        (np.zeros((68, 2), np.float32), "shape"),
        (np.zeros((478, 3), np.float32), "shape"),
        (np.full((478, 2), np.nan, np.float32), "finite"),
        (np.full((478, 2), 5000.0, np.float32), "outside"),
        (np.full((478, 2), 100.0, np.float32), "narrower"),
    ],
)
def test_landmarks_that_make_no_face_are_refused(
    portrait: Face, landmarks: np.ndarray, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        build_face_maps(portrait.image, landmarks, 256)


def test_a_size_that_is_not_offered_is_refused(portrait: Face) -> None:
    with pytest.raises(ValueError, match="size"):
        build_face_maps(portrait.image, portrait.landmarks, 300)
