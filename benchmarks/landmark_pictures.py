"""Pictures with and without faces for `landmark_photos`: hard light, tilt, turn, distance.

Made from scikit-image's photos and the shipped portrait.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from benchmarks.shared import portrait_files
from orchestrator.core.types import RgbImage
from orchestrator.faces.image_decoding import decode_picture, encode_jpeg

FACELESS: Final = (
    *(
        "brick",
        "chelsea",
        "clock",
        "coffee",
        "coins",
        "colorwheel",
        "grass",
        "gravel",
        "horse",
        "hubble_deep_field",
    ),
    *("immunohistochemistry", "logo", "microaneurysms", "moon", "page", "retina", "rocket", "text"),
)
"""Photos of `skimage.data` that show no human face."""

_FACE_CENTRE: Final = (222.0, 125.0)
"""Centre of the astronaut's face, x and y in pixels."""
_FACE_HEIGHT_PX: Final = 130
"""Height of the astronaut's face."""
_STREET_SIDE: Final = 1280
_SEED: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture and the number of faces on it."""

    group: str
    name: str
    image: RgbImage
    faces: int


def pictures() -> Iterator[Picture]:
    """Yield all pictures, the same on every machine."""
    for sitter, photo in (("astronaut", astronaut()), ("portrait", portrait())):
        yield Picture("as it is", sitter, photo, 1)
        yield from _lights(sitter, photo)
        yield from (
            Picture("tilted", f"{sitter} tilted {angle}", tilted(photo, angle), 1)
            for angle in range(-150, 181, 30)
        )
        yield from (
            Picture("turned", f"{sitter} turned {angle}", turned(photo, angle), 1)
            for angle in (-50, -35, -20, 20, 35, 50)
        )
        yield from (
            Picture("distant", f"{sitter} {size} px", distant(photo, size), 1)
            for size in (24, 32, 48, 64, 96)
        )
    yield from _groups()
    yield from _tiny_portraits()
    for name in FACELESS:
        yield Picture("faceless", name, _sample(name), 0)


def astronaut() -> RgbImage:
    """NASA's public-domain portrait, `[512, 512, 3]`."""
    return _sample("astronaut")


def portrait() -> RgbImage:
    """The drawn portrait that ships with the package."""
    return decode_picture(portrait_files()["neutral_pose.jpg"])


def tilted(photo: RgbImage, angle_deg: float) -> RgbImage:
    """The whole photo turned in its plane, on a larger canvas."""
    height, width = photo.shape[:2]
    side = round(np.hypot(height, width))
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle_deg, 1.0)
    matrix[:, 2] += (side - np.array((width, height))) / 2
    return np.asarray(
        cv2.warpAffine(photo, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def turned(photo: RgbImage, angle_deg: float) -> RgbImage:
    """The photo as a flat print turned about its vertical axis, seen from twice its width away."""
    height, width = photo.shape[:2]
    corners = np.array(((0, 0), (width, 0), (width, height), (0, height)), np.float32)
    x = (corners[:, 0] - width / 2) * np.cos(np.radians(angle_deg))
    nearness = 2 * width / (2 * width + (corners[:, 0] - width / 2) * np.sin(np.radians(angle_deg)))
    seen = np.stack(
        (x * nearness + width / 2, (corners[:, 1] - height / 2) * nearness + height / 2), axis=1
    ).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, seen)
    return np.asarray(
        cv2.warpPerspective(photo, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE),
        np.uint8,
    )


def distant(photo: RgbImage, face_px: int) -> RgbImage:
    """The photo pasted into a large gravel field, scaled so that the face is `face_px` high."""
    scale = face_px / _FACE_HEIGHT_PX
    small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    field = np.tile(_sample("gravel"), (3, 3, 1))[:_STREET_SIDE, :_STREET_SIDE].copy()
    top, left = 300, 820
    field[top : top + small.shape[0], left : left + small.shape[1]] = small[
        : _STREET_SIDE - top, : _STREET_SIDE - left
    ]
    return field


def _lights(sitter: str, photo: RgbImage) -> Iterator[Picture]:
    random = np.random.default_rng(_SEED)
    noise = random.normal(0.0, 1.0, photo.shape)
    changed = {
        "at 25 % light": photo * 0.25,
        "at 8 % light": photo * 0.08,
        "bleached": photo * 0.5 + 140,
        "in fog": photo * 0.08 + 100,
        "with noise of 15": photo + 15 * noise,
        "with noise of 40": photo + 40 * noise,
        "blurred by 3": cv2.GaussianBlur(photo, (0, 0), 3.0),
        "grey": np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2),
    }
    for name, image in changed.items():
        yield Picture("light", f"{sitter} {name}", np.clip(image, 0, 255).astype(np.uint8), 1)
    yield Picture("light", f"{sitter} at JPEG quality 92", decode_picture(encode_jpeg(photo)), 1)
    large = cv2.resize(photo, (2048, 2048), interpolation=cv2.INTER_CUBIC)
    yield Picture("large", f"{sitter} 2048 px", np.asarray(large, np.uint8), 1)


def _groups() -> Iterator[Picture]:
    photo = astronaut()
    pair = np.concatenate((photo, photo[:, ::-1]), axis=1)
    yield Picture("several", "two faces", pair, 2)
    yield Picture("several", "four faces", np.concatenate((pair, pair)), 4)
    field = distant(photo, 96)
    field[700:1212, 100:612] = photo
    yield Picture("several", "a near and a distant face", field, 2)


def _tiny_portraits() -> Iterator[Picture]:
    """Yield 100 faces and 100 other cut-outs of Labeled Faces in the Wild, 25 pixels wide.

    They are enlarged to 200 pixels and framed.
    """
    for index, small in enumerate(_data("lfw_subset")):
        grey = cv2.resize((small * 255).astype(np.uint8), (200, 200), interpolation=cv2.INTER_CUBIC)
        framed = cv2.copyMakeBorder(grey, 60, 60, 60, 60, cv2.BORDER_REPLICATE)
        shown = index < 100
        yield Picture(
            "LFW faces" if shown else "LFW others",
            f"LFW {index}",
            _rgb(np.asarray(framed)),
            int(shown),
        )


def _sample(name: str) -> RgbImage:
    return _rgb(_data(name))


def _data(name: str) -> NDArray[np.generic]:
    return np.asarray(getattr(skimage.data, name)())


def _rgb(image: NDArray[np.generic]) -> RgbImage:
    """Convert grey, boolean and transparent pictures to RGB."""
    pixels = image.astype(np.uint8) * 255 if image.dtype == bool else image.astype(np.uint8)
    return np.ascontiguousarray(
        np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels[..., :3]
    )
