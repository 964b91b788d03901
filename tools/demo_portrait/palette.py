"""Proportions and colours that the portrait's parts share."""

from __future__ import annotations

from typing import Final

from tools.demo_portrait.canvas import Color, Path

MIDDLE: Final = 384.0
"""x of the face's middle line."""

SKIN: Final[Color] = (233, 186, 155)
SKIN_LIGHT: Final[Color] = (251, 219, 192)
BLUSH: Final[Color] = (226, 138, 118)
HAIR_DARK: Final[Color] = (46, 28, 22)
HAIR: Final[Color] = (92, 56, 40)
HAIR_LIGHT: Final[Color] = (172, 114, 76)

FACE: Final[Path] = (
    (384, 150), (452, 158), (512, 192), (546, 254), (555, 330), (551, 404), (540, 470),
    (517, 532), (478, 588), (428, 620),
    (384, 628), (340, 620), (290, 588), (251, 532), (228, 470), (217, 404), (213, 330),
    (222, 254), (256, 192), (316, 158),
)  # fmt: skip

EYE: Final[Path] = (
    (-43, 7),
    (-35, -3),
    (-18, -16),
    (2, -21),
    (22, -17),
    (38, -5),
    (44, 2),
    (31, 12),
    (10, 17),
    (-12, 17),
    (-31, 12.5),
)
"""The opening of an eye about its middle, x towards the temple."""

LIP_LINE: Final[Path] = (
    (316, 526), (335, 532), (357, 536), (371, 537), (384, 537.5), (397, 537), (411, 536),
    (433, 532), (452, 526),
)  # fmt: skip
"""Line where the lips meet: relaxed, the corners a little up."""


def aside(side: float, *path: tuple[float, float]) -> Path:
    """Points given by their distance from the middle line.

    On the image's left (-1) or right (1).
    """
    return [(MIDDLE + side * x, y) for x, y in path]


def eye_at(side: float, path: Path) -> Path:
    """Points given relative to an eye's middle, x towards the temple."""
    return [(MIDDLE + side * (84 + x), 370 + y) for x, y in path]
