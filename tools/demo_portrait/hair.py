"""The portrait's hair: two sheets over a dark mass, edged by some hundred strands each."""

from __future__ import annotations

import numpy as np

from tools.demo_portrait.canvas import (
    Path,
    Picture,
    gradient,
    mask_of,
    mixed,
    paint,
    shade,
    softened,
    strand,
    stroke_of,
)
from tools.demo_portrait.palette import FACE, HAIR, HAIR_DARK, HAIR_LIGHT, aside

MASS: Path = (
    (394, 46), (476, 57), (546, 98), (592, 172), (612, 270), (616, 360), (632, 440), (634, 510),
    (652, 585), (644, 650), (606, 706),
    (548, 728), (500, 730), (268, 730), (214, 728), (160, 706), (122, 650), (118, 585),
    (138, 510), (136, 440), (152, 360), (155, 270),
    (174, 172), (222, 98), (306, 55),
)  # fmt: skip
LEFT_SHEET: Path = (
    (424, 74), (360, 58), (290, 70), (226, 114), (184, 190), (168, 290), (172, 372), (192, 424),
    (206, 380), (215, 320), (234, 268),
    (272, 230), (332, 202), (392, 172), (430, 132),
)  # fmt: skip
RIGHT_SHEET: Path = (
    (412, 80), (470, 64), (538, 104), (586, 182), (602, 290), (597, 372), (577, 426), (562, 380),
    (555, 320), (543, 262), (512, 216),
    (470, 184), (434, 144),
)  # fmt: skip


def paint_hair_behind(canvas: Picture) -> None:
    """Paint the hair behind the face and on the shoulders."""
    mass = mask_of(MASS, 1.2)
    paint(canvas, gradient((200, 60), (600, 720), (HAIR, (68, 41, 31), HAIR_DARK)), mass)
    inner: Path = (
        (384, 150),
        (556, 220),
        (560, 420),
        (528, 600),
        (470, 700),
        (298, 700),
        (240, 600),
        (208, 420),
        (212, 220),
    )
    shade(canvas, (0.50, 0.46, 0.45), mask_of(inner, 18), mass)
    outer = (
        (20, 50),
        (150, 84),
        (214, 172),
        (230, 270),
        (234, 360),
        (249, 440),
        (251, 512),
        (268, 588),
        (258, 650),
        (206, 712),
    )
    edge = (
        (60, 100),
        (130, 150),
        (176, 230),
        (180, 310),
        (172, 380),
        (164, 450),
        (146, 520),
        (152, 590),
        (140, 650),
        (104, 712),
    )
    for side in (-1.0, 1.0):
        _strands(canvas, np.random.default_rng(7), side, outer, edge, 210)
        _waves(canvas, side)


def paint_hair_in_front(canvas: Picture) -> None:
    """Paint the parted sheets that frame the face."""
    face = mask_of(FACE)
    for path, end, tones in (
        (RIGHT_SHEET, 600.0, ((80, 48, 36), (60, 36, 28), HAIR_DARK)),
        (LEFT_SHEET, 250.0, ((112, 70, 49), HAIR, (56, 34, 26))),
    ):
        shade(canvas, (0.68, 0.57, 0.54), mask_of([(x, y + 10) for x, y in path], 9), face)
        paint(canvas, gradient((300, 80), (end, 420), tones), mask_of(path, 1.2))
    left_outer = (
        (-40, 74),
        (30, 60),
        (100, 72),
        (160, 114),
        (200, 192),
        (215, 290),
        (211, 372),
        (190, 424),
    )
    left_inner = (
        (-46, 132),
        (-10, 168),
        (50, 198),
        (108, 226),
        (147, 266),
        (167, 318),
        (176, 376),
        (188, 420),
    )
    right_outer = ((30, 82), (86, 66), (152, 104), (200, 184), (217, 290), (212, 372), (193, 424))
    right_inner = ((50, 144), (84, 182), (128, 214), (158, 262), (170, 320), (178, 376), (191, 420))
    _strands(canvas, np.random.default_rng(3), -1.0, left_outer, left_inner, 200)
    _strands(canvas, np.random.default_rng(4), 1.0, right_outer, right_inner, 130)
    _gloss(canvas)
    _loose(canvas)


def _strands(
    canvas: Picture, rng: np.random.Generator, side: float, outer: Path, inner: Path, count: int
) -> None:
    """Paint hair between two guide curves (x from the middle line outwards).

    Each strand differs a little in place and tone.
    """
    a, b = np.asarray(outer, dtype=np.float64), np.asarray(inner, dtype=np.float64)
    for place in rng.permutation(np.linspace(-0.02, 1.0, count)):
        wave = 3.0 * np.sin(np.linspace(0, 6, len(a)) + rng.uniform(0, 6.28))
        guide = (
            a
            + (b - a) * place
            + np.stack([wave, np.zeros_like(wave)], axis=1)
            + rng.normal(0, 1.2, a.shape)
        )
        start = int(rng.integers(0, len(a) - 4))
        guide = guide[start : start + int(rng.integers(4, len(a) - start + 1))]
        tone = float(np.clip(rng.normal(0.42, 0.26) + (0.12 if side < 0 else -0.04), 0.0, 1.0))
        color = (
            mixed(HAIR_DARK, HAIR, tone / 0.6)
            if tone < 0.6
            else mixed(HAIR, HAIR_LIGHT, (tone - 0.6) / 0.4)
        )
        strand(
            canvas,
            aside(side, *((float(x), float(y)) for x, y in guide)),
            color,
            3.1 * rng.uniform(0.4, 1.1),
            rng.uniform(0.25, 0.6),
        )


def _waves(canvas: Picture, side: float) -> None:
    """Paint broad soft locks, which give the hair its volume."""
    for x, tone, opacity in (
        (236, HAIR_LIGHT, 0.22),
        (214, HAIR_DARK, 0.40),
        (196, HAIR_LIGHT, 0.16),
        (176, HAIR_DARK, 0.34),
    ):
        lock = aside(side, (x - 16, 330), (x + 6, 430), (x - 2, 512), (x + 12, 600), (x - 26, 690))
        paint(
            canvas,
            tone,
            stroke_of(lock, (2, 12, 18, 14, 2), 5),
            opacity if side < 0 else 0.7 * opacity,
        )


def _gloss(canvas: Picture) -> None:
    """Paint light on the crown, following the strands."""
    for path, opacity in (
        (((332, 92), (262, 128), (212, 198), (196, 290)), 0.40),
        (((374, 116), (310, 140), (250, 190), (220, 252)), 0.34),
        (((476, 94), (538, 146), (574, 230), (583, 300)), 0.20),
    ):
        paint(canvas, (214, 158, 114), stroke_of(path, (4, 20, 20, 4), 8), opacity)
    part = stroke_of(((418, 78), (424, 104), (430, 140)), (1, 3, 4), 1.5)
    paint(canvas, (150, 104, 80), softened(part, 0.5), 0.5)


def _loose(canvas: Picture) -> None:
    """Paint single hairs that stand off."""
    rng = np.random.default_rng(23)
    for side in (-1.0, 1.0):
        for _ in range(22):
            height = float(rng.uniform(230, 570))
            reach = float(
                np.interp(height, (176, 270, 360, 440, 510, 588), (210, 229, 233, 249, 251, 268))
            )
            bend = float(rng.uniform(-4, 9))
            hair = aside(
                side,
                (reach - 16, height - 40),
                (reach + bend * 0.5, height),
                (reach + bend, height + 44),
            )
            strand(canvas, hair, mixed(HAIR, HAIR_LIGHT, float(rng.random())), 1.4, 0.5)
