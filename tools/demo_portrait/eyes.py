"""Eyes, lashes and brows of the portrait."""

from __future__ import annotations

import numpy as np

from tools.demo_portrait.canvas import (
    Color,
    Mask,
    Path,
    Picture,
    ellipse_of,
    glow,
    gradient,
    mask_of,
    mixed,
    paint,
    shade,
    strand,
    stroke_of,
)
from tools.demo_portrait.palette import EYE, HAIR, HAIR_DARK, SKIN_LIGHT, aside, eye_at

LASH: Color = (40, 26, 22)


def paint_eye(canvas: Picture, side: float) -> None:
    """Paint one eye with its lids and lashes."""
    opening = mask_of(eye_at(side, EYE), 0.5)
    _eyeball(canvas, side, opening)
    x, y = eye_at(side, [(0.0, -2.0)])[0]
    _iris(canvas, x - side, y, opening)
    _lids(canvas, side, opening)
    _catchlights(canvas, x - side, y, opening)
    _lashes(canvas, side)


def paint_brow(canvas: Picture, side: float) -> None:
    """Paint a brow: a soft shape and the hairs that form it."""
    shape = aside(
        side,
        (36, 318),
        (56, 307),
        (88, 298),
        (118, 301),
        (148, 321),
        (118, 311),
        (88, 309),
        (58, 319),
        (40, 328),
    )
    paint(canvas, HAIR, mask_of(shape, 3.0), 0.62)
    rng = np.random.default_rng(5)
    for place in np.linspace(0.0, 1.0, 90):
        x = 37 + 106 * place
        y = float(
            np.interp(x, (36, 56, 88, 116, 146), (323, 313, 304, 306, 321)) + rng.normal(0, 2.0)
        )
        lean = float(
            np.interp(place, (0, 0.25, 0.6, 1), (0.35, 1.0, 1.45, 2.0)) + rng.normal(0, 0.08)
        )
        length = float(np.interp(place, (0, 0.4, 1), (10, 14, 9)) * rng.uniform(0.8, 1.15))
        end = (x + length * np.sin(lean), y - length * 0.7 * np.cos(lean))
        middle = ((x + end[0]) / 2 - 1.0, (y + 2 + end[1]) / 2 - 1.0)
        strand(
            canvas,
            aside(side, (x, y + 2), middle, end),
            mixed(HAIR_DARK, HAIR, float(rng.random())),
            1.9,
            0.46,
        )


def _eyeball(canvas: Picture, side: float, opening: Mask) -> None:
    paint(
        canvas,
        gradient((0, 352), (0, 388), ((200, 190, 186), (243, 238, 234), (236, 229, 223))),
        opening,
    )
    shade(
        canvas,
        (0.86, 0.80, 0.80),
        mask_of(eye_at(side, ((-44, 8), (-30, 0), (-26, 8), (-32, 14))), 4),
        opening,
    )
    shade(
        canvas,
        (0.86, 0.82, 0.80),
        mask_of(eye_at(side, ((46, 0), (30, -6), (28, 6), (32, 14))), 4),
        opening,
    )
    x, y = eye_at(side, [(-37.0, 6.0)])[0]
    paint(canvas, (226, 160, 148), ellipse_of(x, y, 5, 4, 1.5), 0.8, opening)


def _iris(canvas: Picture, x: float, y: float, opening: Mask) -> None:
    iris = ellipse_of(x, y, 19.5, 19.5, 0.7) * opening
    paint(canvas, glow(x, y, 20, ((158, 118, 70), (134, 93, 54), (96, 65, 40), (48, 33, 25))), iris)
    rng = np.random.default_rng(11)
    for angle in np.linspace(0, 2 * np.pi, 44, endpoint=False) + rng.normal(0, 0.03, 44):
        c, s = float(np.cos(angle)), float(np.sin(angle))
        ray = stroke_of([(x + 8 * c, y + 8 * s), (x + 15 * c, y + 15 * s)], (0.7, 1.1), 0.4)
        paint(canvas, (200, 154, 96) if rng.random() < 0.6 else (70, 46, 30), ray, 0.4, iris)
    paint(canvas, (14, 10, 10), ellipse_of(x, y, 8.2, 8.2, 0.6), 1.0, iris)
    paint(canvas, (212, 166, 108), ellipse_of(x + 3, y + 9, 9, 5, 2.5), 0.5, iris)


def _lids(canvas: Picture, side: float, opening: Mask) -> None:
    """The upper lid's shadow on the eye, its crease above, the lower lid's rim."""

    def at(*path: tuple[float, float]) -> Path:
        return eye_at(side, path)

    cast = at(
        (-46, 4),
        (-18, -24),
        (2, -29),
        (22, -25),
        (46, 2),
        (36, -2),
        (20, -8),
        (2, -11),
        (-18, -8),
        (-34, 2),
    )
    shade(canvas, (0.48, 0.45, 0.45), mask_of(cast, 2.5), opening)
    paint(
        canvas,
        (158, 100, 78),
        stroke_of(
            at((-37, -9), (-20, -25), (2, -31), (24, -27), (41, -13)),
            (1.0, 2.6, 3.2, 2.8, 1.0),
            1.3,
        ),
        0.6,
    )
    paint(canvas, SKIN_LIGHT, stroke_of(at((-22, -19), (2, -25), (24, -20)), (2, 4, 2), 2.2), 0.5)
    rim = at((42, 3), (30, 12.5), (10, 17.5), (-12, 17.5), (-32, 12.5))
    paint(canvas, (172, 108, 88), stroke_of(rim, (2.4, 2.0, 1.5, 1.3, 1.0), 0.9), 0.65)
    paint(
        canvas,
        (248, 212, 192),
        stroke_of(at((34, 12), (10, 19.5), (-14, 19.5)), (1.2, 2.4, 1.2), 1.2),
        0.5,
    )


def _catchlights(canvas: Picture, x: float, y: float, opening: Mask) -> None:
    """Paint one window, upper left in both eyes, and its faint reflection."""
    paint(canvas, (255, 255, 255), ellipse_of(x - 6, y - 6.5, 4.0, 4.6, 0.6), 0.95, opening)
    paint(canvas, (235, 242, 250), ellipse_of(x + 6.5, y + 6, 2.2, 2.2, 0.8), 0.6, opening)


def _lashes(canvas: Picture, side: float) -> None:
    line = eye_at(side, ((-43, 7), (-35, -4), (-18, -17), (2, -22), (22, -18), (39, -6), (49, -3)))
    paint(canvas, LASH, stroke_of(line, (1.6, 3.2, 4.4, 5.0, 5.2, 4.4, 1.0), 0.8), 0.92)
    hairs = (
        ((16, -18.5), (22, -26)),
        ((24, -16), (33, -23)),
        ((30, -12), (41, -18)),
        ((36, -7), (48, -12)),
        ((41, -2), (53, -6)),
    )
    for start, end in hairs:
        middle = ((start[0] + end[0]) / 2 + 2, (start[1] + end[1]) / 2 + 2)
        paint(
            canvas, LASH, stroke_of(eye_at(side, (start, middle, end)), (3.2, 1.8, 0.4), 0.7), 0.6
        )
