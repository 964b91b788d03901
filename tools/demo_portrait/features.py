"""Skin, nose, mouth and ears of the portrait."""

from __future__ import annotations

import numpy as np

from tools.demo_portrait.canvas import (
    Mask,
    Path,
    Picture,
    ellipse_of,
    glow,
    gradient,
    mask_of,
    paint,
    shade,
    stroke_of,
)
from tools.demo_portrait.palette import BLUSH, FACE, LIP_LINE, MIDDLE, SKIN, SKIN_LIGHT, aside


def paint_ears(canvas: Picture) -> None:
    """Paint the ears, of which only the lobes show."""
    for side, color in ((-1.0, (218, 160, 132)), (1.0, (194, 134, 108))):
        ear = mask_of(
            aside(
                side,
                (166, 352),
                (182, 338),
                (194, 352),
                (192, 392),
                (180, 428),
                (168, 437),
                (160, 410),
            ),
            0.8,
        )
        paint(canvas, color, ear)
        shade(
            canvas,
            (0.76, 0.62, 0.58),
            ellipse_of(MIDDLE + side * 179, 385, 9, 30, 5, -0.12 * side),
            ear,
        )


def paint_skin(canvas: Picture, face: Mask) -> None:
    """Paint the face's form.

    Light from the upper left, shadow on the right, under the hair and below the chin.
    """
    paint(
        canvas,
        glow(340, 330, 330, (SKIN_LIGHT, (246, 206, 177), SKIN, (208, 153, 123)), 1.25),
        mask_of(FACE, 0.9),
    )
    right = ((600, 150), (556, 260), (532, 400), (518, 520), (452, 616), (384, 640), (620, 660))
    left = ((170, 200), (222, 300), (236, 420), (260, 530), (328, 618), (160, 640))
    top = (
        (210, 140),
        (384, 128),
        (560, 140),
        (548, 230),
        (480, 196),
        (384, 186),
        (288, 196),
        (222, 230),
    )
    shade(canvas, (0.76, 0.65, 0.61), mask_of(right, 26), face)
    shade(canvas, (0.90, 0.82, 0.79), mask_of(left, 16), face)
    shade(canvas, (0.84, 0.75, 0.72), mask_of(top, 18), face)
    shade(
        canvas,
        (0.90, 0.82, 0.79),
        mask_of(((310, 608), (384, 622), (458, 608), (440, 650), (384, 660), (328, 650)), 9),
        face,
    )
    for side in (-1.0, 1.0):
        _cheek(canvas, side, face)
    paint(canvas, (255, 233, 210), ellipse_of(362, 250, 84, 40, 26), 0.5, face)
    paint(canvas, SKIN_LIGHT, ellipse_of(376, 598, 26, 13, 9), 0.5, face)


def _cheek(canvas: Picture, side: float, face: Mask) -> None:
    """Blush, the eye's socket, the soft line below the eye and the light on the cheekbone."""
    paint(canvas, BLUSH, ellipse_of(MIDDLE + side * 106, 450, 46, 32, 20, -0.35 * side), 0.38, face)
    shade(canvas, (0.90, 0.82, 0.79), ellipse_of(MIDDLE + side * 84, 352, 58, 27, 13), face)
    shade(canvas, (0.88, 0.79, 0.76), ellipse_of(MIDDLE + side * 40, 354, 14, 26, 10), face)
    shade(
        canvas,
        (0.95, 0.90, 0.89),
        stroke_of(aside(side, (54, 400), (84, 408), (114, 400)), (3, 8, 3), 4.5),
        face,
    )
    paint(
        canvas,
        SKIN_LIGHT,
        ellipse_of(MIDDLE + side * 98, 424, 36, 14, 9, -0.3 * side),
        0.55 if side < 0 else 0.35,
        face,
    )


def paint_nose(canvas: Picture, face: Mask) -> None:
    """Paint the nose as planes: a shaded side, a lit bridge and tip, soft wings."""
    right = ((398, 350), (404, 400), (412, 440), (430, 462), (420, 480), (398, 470), (394, 400))
    shade(canvas, (0.88, 0.79, 0.76), mask_of(right, 7.5), face)
    shade(
        canvas,
        (0.96, 0.92, 0.90),
        mask_of(((370, 350), (362, 400), (350, 446), (342, 464), (354, 470), (366, 430)), 6),
        face,
    )
    paint(
        canvas,
        (255, 234, 213),
        stroke_of(((382, 330), (380, 380), (379, 430)), (9, 12, 14), 7),
        0.6,
        face,
    )
    paint(canvas, (255, 238, 221), ellipse_of(378, 450, 13, 11, 6), 0.75, face)
    base = (
        (342, 474),
        (362, 482),
        (384, 488),
        (406, 482),
        (426, 474),
        (416, 492),
        (384, 501),
        (352, 492),
    )
    shade(canvas, (0.86, 0.76, 0.73), mask_of(base, 6), face)
    for side in (-1.0, 1.0):
        shade(
            canvas,
            (0.79, 0.67, 0.62),
            stroke_of(
                aside(side, (37, 447), (43, 460), (40, 473), (31, 478)), (2, 4.5, 4.5, 3), 2.6
            ),
            face,
        )
        paint(
            canvas,
            (104, 54, 44),
            mask_of(aside(side, (13, 479), (20, 475), (29, 474.5), (30, 478), (22, 480.5)), 1.6),
            0.8,
            face,
        )
        paint(canvas, SKIN_LIGHT, ellipse_of(MIDDLE + side * 31, 460, 7, 8, 4), 0.4, face)


def paint_mouth(canvas: Picture, face: Mask) -> None:
    """Paint the mouth, closed and relaxed, with a slight smile."""
    top: Path = (
        (452, 526),
        (434, 521),
        (412, 516),
        (397, 513.5),
        (384, 517),
        (371, 513.5),
        (356, 516),
        (334, 521),
    )
    bottom: Path = (
        (452, 526),
        (439, 541),
        (418, 555),
        (400, 561.5),
        (384, 563),
        (368, 561.5),
        (350, 555),
        (329, 541),
        (316, 526),
    )
    upper, lower = mask_of([*LIP_LINE, *top[1:]], 0.9), mask_of([*LIP_LINE[:-1], *bottom], 0.9)
    _around_the_mouth(canvas, face)
    paint(
        canvas,
        gradient((0, 513), (0, 538), ((212, 128, 116), (196, 104, 97), (166, 76, 74))),
        upper,
    )
    paint(
        canvas,
        gradient((0, 536), (0, 563), ((190, 94, 90), (218, 130, 120), (212, 124, 112))),
        lower,
    )
    shaded = ((400, 511), (460, 523), (460, 543), (420, 563), (396, 567), (430, 538))
    shade(canvas, (0.86, 0.80, 0.80), mask_of(shaded, 9), np.maximum(upper, lower))
    paint(canvas, (250, 196, 184), ellipse_of(372, 548, 22, 5.2, 3.6), 0.66, lower)
    paint(canvas, (240, 174, 161), ellipse_of(363, 520.5, 12, 2.8, 2.2), 0.5, upper)
    bow = ((348, 515.5), (370, 509), (384, 512.5), (398, 509), (420, 515.5))
    paint(canvas, (252, 218, 195), stroke_of(bow, (1, 2.4, 2.0, 2.4, 1), 1.5), 0.5, face)
    paint(
        canvas,
        (104, 44, 44),
        stroke_of(LIP_LINE, (1.2, 2.0, 2.4, 2.6, 2.7, 2.6, 2.4, 2.0, 1.2), 0.9),
        0.85,
    )
    for side in (-1.0, 1.0):
        paint(
            canvas,
            (132, 68, 58),
            ellipse_of(MIDDLE + side * 68.5, 525, 4.5, 2.4, 1.9, -0.5 * side),
            0.62,
            face,
        )


def _around_the_mouth(canvas: Picture, face: Mask) -> None:
    """Paint the groove above the mouth, the shadow below and the folds beside it."""
    shade(canvas, (0.92, 0.85, 0.82), stroke_of(((384, 493), (384, 511)), (8, 12), 4), face)
    below = ((340, 560), (384, 569), (428, 560), (416, 579), (384, 585), (352, 579))
    shade(canvas, (0.80, 0.69, 0.65), mask_of(below, 6.5), face)
    for side in (-1.0, 1.0):
        shade(
            canvas,
            (0.93, 0.87, 0.84),
            stroke_of(aside(side, (54, 466), (74, 490), (86, 520)), (2, 7, 3), 5.5),
            face,
        )
        shade(canvas, (0.84, 0.74, 0.70), ellipse_of(MIDDLE + side * 71, 525, 7, 6, 4), face)
