"""The demo portrait: an invented face at rest, lips closed, eyes to the camera."""

from __future__ import annotations

import cv2
import numpy as np

from orchestrator.core.types import RgbImage
from tools.demo_portrait.canvas import (
    SIDE,
    Path,
    Picture,
    ellipse_of,
    gradient,
    mask_of,
    paint,
    shade,
    stroke_of,
)
from tools.demo_portrait.eyes import paint_brow, paint_eye
from tools.demo_portrait.features import paint_ears, paint_mouth, paint_nose, paint_skin
from tools.demo_portrait.hair import paint_hair_behind, paint_hair_in_front
from tools.demo_portrait.palette import FACE, SKIN, SKIN_LIGHT, aside

NECK: Path = (
    (306, 540), (308, 600), (306, 650), (290, 684), (244, 712), (190, 732), (190, 800),
    (578, 800), (578, 732), (524, 712), (478, 684),
    (462, 650), (460, 600), (462, 540),
)  # fmt: skip
JUMPER: Path = (
    (384, 756), (330, 742), (286, 716), (258, 704), (180, 728), (96, 754), (40, 792), (20, 900),
    (748, 900), (728, 792), (672, 754),
    (588, 728), (510, 704), (482, 716), (438, 742),
)  # fmt: skip


def portrait() -> RgbImage:
    """The finished picture `[768, 768, 3]`, RGB."""
    canvas = _background()
    face = mask_of(FACE)
    paint_hair_behind(canvas)
    _neck(canvas)
    _clothes(canvas)
    paint_ears(canvas)
    paint_skin(canvas, face)
    for side in (-1.0, 1.0):
        paint_eye(canvas, side)
        paint_brow(canvas, side)
    paint_nose(canvas, face)
    paint_mouth(canvas, face)
    paint_hair_in_front(canvas)
    _light(canvas)
    small = cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(np.rint(small + _grain()), 0, 255), dtype=np.uint8)


def _background() -> Picture:
    """A room out of focus."""
    canvas = gradient((0, 0), (768, 768), ((216, 223, 224), (178, 196, 201), (136, 160, 170)))
    for x, y, radius, color, opacity in (
        (110, 150, 150, (248, 240, 224), 0.75), (30, 430, 120, (230, 216, 198), 0.45),
        (700, 120, 120, (152, 178, 178), 0.6),
        (690, 400, 150, (114, 144, 150), 0.6), (600, 40, 90, (234, 230, 216), 0.4),
        (130, 620, 110, (160, 178, 172), 0.5),
    ):  # fmt: skip
        paint(canvas, color, ellipse_of(x, y, radius, radius * 0.9, blur=38), opacity)
    return canvas


def _neck(canvas: Picture) -> None:
    neck = mask_of(NECK, 1.0)
    paint(canvas, gradient((300, 600), (480, 640), (SKIN, (224, 173, 141), (198, 143, 115))), neck)
    under_chin: Path = (
        (296, 560),
        (330, 640),
        (384, 668),
        (440, 650),
        (480, 560),
        (480, 520),
        (296, 520),
    )
    shade(canvas, (0.68, 0.58, 0.55), mask_of(under_chin, 14), neck)
    shade(
        canvas,
        (0.82, 0.74, 0.72),
        mask_of(((448, 540), (500, 540), (500, 720), (462, 700)), 14),
        neck,
    )
    for side in (-1.0, 1.0):
        shade(
            canvas,
            (0.90, 0.85, 0.83),
            stroke_of(aside(side, (32, 690), (18, 720), (6, 742)), (5, 10, 7), 7),
            neck,
        )
        paint(
            canvas,
            SKIN_LIGHT,
            stroke_of(aside(side, (88, 740), (54, 730), (22, 742)), (2, 8, 3), 5),
            0.35,
            neck,
        )


def _clothes(canvas: Picture) -> None:
    """A plain jumper with a rolled neckline."""
    cloth = mask_of(JUMPER, 0.8)
    paint(
        canvas,
        gradient((120, 700), (660, 800), ((78, 132, 142), (52, 104, 118), (36, 78, 94))),
        cloth,
    )
    neckline: Path = (
        (262, 705),
        (290, 724),
        (332, 748),
        (384, 761),
        (436, 748),
        (478, 724),
        (506, 705),
    )
    shade(
        canvas,
        (0.74, 0.76, 0.78),
        stroke_of([(x, y + 17) for x, y in neckline], (3, 9, 9, 9, 9, 9, 3), 5),
        cloth,
    )
    paint(
        canvas,
        (104, 160, 168),
        stroke_of([(x, y + 3) for x, y in neckline], (2, 6, 7, 7, 7, 6, 2), 2),
        0.55,
        cloth,
    )
    for side in (-1.0, 1.0):
        shade(
            canvas,
            (0.86, 0.87, 0.88),
            stroke_of(aside(side, (180, 740), (214, 768), (226, 800)), (3, 14, 20), 8),
            cloth,
        )


def _light(canvas: Picture) -> None:
    """A warm light from the upper left over everything, a cooler falloff to the lower right."""
    shade(canvas, (1.05, 1.03, 1.0), ellipse_of(240, 200, 330, 330, 120))
    shade(canvas, (0.91, 0.92, 0.95), ellipse_of(760, 760, 300, 300, 120))


def _grain() -> Picture:
    """A trace of noise, so that gradients neither band nor look like plastic."""
    noise = np.random.default_rng(1).normal(0.0, 1.3, (SIDE, SIDE, 1)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.7)[..., None] * 1.6, dtype=np.float32)
