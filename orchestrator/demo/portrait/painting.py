"""Paints the demo portrait: nobody in particular, at ease, lips shut, looking at you."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from orchestrator.demo.portrait.canvas import (
    OVERSAMPLING,
    SIDE,
    Color,
    Mask,
    Path,
    Picture,
    ellipse_of,
    glow,
    gradient,
    mask_of,
    paint,
    shade,
    spline,
    stroke_of,
)

MIDDLE: Final = 384.0

SKIN: Final[Color] = (232, 184, 152)
SKIN_LIGHT: Final[Color] = (250, 216, 188)
SKIN_DEEP: Final[Color] = (196, 132, 102)
BLUSH: Final[Color] = (224, 132, 112)
HAIR_DARK: Final[Color] = (44, 27, 22)
HAIR: Final[Color] = (86, 52, 38)
HAIR_LIGHT: Final[Color] = (158, 104, 70)
LIP: Final[Color] = (192, 92, 88)

FACE: Final[Path] = (
    (384, 150), (452, 158), (512, 192), (546, 254), (555, 330), (551, 404), (538, 470), (514, 532), (474, 588), (424, 622),
    (384, 629), (344, 622), (294, 588), (254, 532), (230, 470), (217, 404), (213, 330), (222, 254), (256, 192), (316, 158),
)  # fmt: skip
EYE: Final[Path] = ((-42, 7), (-34, -2), (-18, -14), (2, -19), (22, -15), (37, -4), (43, 2), (30, 11), (10, 16), (-12, 16), (-30, 12))
"""The opening of an eye about its middle, x towards the temple."""

LIP_LINE: Final[Path] = ((316, 533), (336, 536), (360, 539), (376, 537.5), (384, 539), (392, 537.5), (408, 539), (432, 536), (452, 533))
"""Where the lips meet."""

NECK: Final[Path] = (
    (306, 540), (308, 600), (306, 650), (290, 684), (244, 712), (190, 732), (190, 800), (578, 800), (578, 732), (524, 712), (478, 684),
    (462, 650), (460, 600), (462, 540),
)  # fmt: skip


def mirrored(path: Path) -> Path:
    """The path on the other half of the face."""
    return [(2 * MIDDLE - x, y) for x, y in path]


def both(path: Path) -> tuple[Path, Path]:
    """A path and its mirror image."""
    return path, mirrored(path)


def eye_at(side: float, path: Path) -> Path:
    """Points given about an eye's middle, x towards the temple, on the picture's left (-1) or right (1)."""
    return [(MIDDLE + side * (84 + x), 370 + y) for x, y in path]


def portrait() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """The finished picture `[768, 768, 3]`, RGB."""
    canvas = _background()
    face = mask_of(FACE)
    _hair_behind(canvas)
    _neck(canvas)
    _clothes(canvas)
    _ears(canvas)
    _skin(canvas, face)
    for side in (-1.0, 1.0):
        _eye(canvas, side)
        _brow(canvas, side)
    _nose(canvas, face)
    _mouth(canvas, face)
    _hair_in_front(canvas)
    _light(canvas)
    small = cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return np.clip(np.rint(small), 0, 255).astype(np.uint8)


def _background() -> Picture:
    canvas = gradient((0, 0), (768, 768), ((214, 222, 224), (176, 194, 200), (134, 158, 168)))
    for x, y, radius, color, opacity in (
        (110, 150, 150, (246, 238, 222), 0.75), (30, 430, 120, (228, 214, 196), 0.45), (700, 120, 120, (150, 176, 176), 0.6),
        (690, 400, 150, (112, 142, 148), 0.6), (600, 40, 90, (232, 228, 214), 0.4), (130, 620, 110, (158, 176, 170), 0.5),
    ):  # fmt: skip
        paint(canvas, color, ellipse_of(x, y, radius, radius * 0.9, blur=38), opacity)
    return canvas


def _hair_behind(canvas: Picture) -> None:
    mass: Path = (
        (384, 62), (470, 70), (546, 112), (594, 190), (612, 290), (616, 400), (628, 500), (640, 590), (622, 668), (560, 716), (500, 724),
        (268, 724), (208, 716), (146, 668), (128, 590), (140, 500), (152, 400), (156, 290), (174, 190), (222, 112), (298, 70),
    )  # fmt: skip
    paint(canvas, gradient((200, 60), (600, 720), (HAIR, (64, 38, 29), HAIR_DARK)), mask_of(mass, 1.2))
    inner: Path = ((384, 150), (560, 220), (566, 420), (540, 600), (480, 700), (288, 700), (228, 600), (202, 420), (208, 220))
    shade(canvas, (0.45, 0.42, 0.42), mask_of(inner, 16), mask_of(mass))
    rng = np.random.default_rng(7)
    for side in (-1.0, 1.0):
        _strands(
            canvas, rng, side,
            outer=((30, 64), (150, 96), (214, 190), (228, 300), (232, 410), (244, 500), (254, 590), (232, 668), (186, 712)),
            inner=((60, 100), (130, 150), (176, 230), (184, 320), (186, 410), (184, 500), (178, 590), (160, 660), (120, 706)),
            count=150, width=3.2,
        )  # fmt: skip


def _strands(canvas: Picture, rng: np.random.Generator, side: float, outer: Path, inner: Path, count: int, width: float) -> None:
    """Hair between two guide curves (x from the middle line outwards), each strand a little different in place and tone."""
    a, b = np.asarray(outer, dtype=np.float64), np.asarray(inner, dtype=np.float64)
    for place in rng.permutation(np.linspace(0.0, 1.0, count)):
        wave = 3.0 * np.sin(np.linspace(0, 6, len(a)) + rng.uniform(0, 6.28))
        guide = a + (b - a) * place + np.stack([wave, np.zeros_like(wave)], axis=1) + rng.normal(0, 1.2, a.shape)
        start = rng.integers(0, len(a) - 4)
        guide = guide[start : start + int(rng.integers(4, len(a) - start + 1))]
        tone = float(np.clip(rng.normal(0.42, 0.26) + (0.12 if side < 0 else -0.06), 0.0, 1.0))
        color = _mix(HAIR_DARK, HAIR, tone / 0.6) if tone < 0.6 else _mix(HAIR, HAIR_LIGHT, (tone - 0.6) / 0.4)
        _thin(canvas, [(MIDDLE + side * x, y) for x, y in guide], color, width * rng.uniform(0.4, 1.1), rng.uniform(0.25, 0.6))


def _thin(canvas: Picture, path: Path, color: Color, width: float, opacity: float) -> None:
    """A strand, painted in its own bounding box because there are hundreds."""
    line = spline(path, closed=False) * OVERSAMPLING
    low = np.maximum(np.floor(line.min(axis=0)).astype(int) - 8, 0)
    high = np.minimum(np.ceil(line.max(axis=0)).astype(int) + 8, SIDE * OVERSAMPLING)
    if (high <= low).any():
        return
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), dtype=np.uint8)
    tangent = np.gradient(line, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1) / np.maximum(np.hypot(*tangent.T), 1e-9)[:, None]
    half = (np.sin(np.linspace(0.05, np.pi - 0.05, len(line))) ** 0.5 * width * OVERSAMPLING / 2.0)[:, None]
    outline = np.vstack([line + normal * half, (line - normal * half)[::-1]]) - low
    cv2.fillPoly(mask, [np.rint(outline * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
    soft = cv2.GaussianBlur(mask, (0, 0), 1.0).astype(np.float32) * np.float32(opacity / 255.0)
    window = canvas[low[1] : high[1], low[0] : high[0]]
    window += (np.asarray(color, dtype=np.float32) - window) * soft[..., None]


def _neck(canvas: Picture) -> None:
    neck = mask_of(NECK, 1.0)
    paint(canvas, gradient((300, 600), (480, 640), (SKIN, (222, 170, 138), (196, 140, 112))), neck)
    under_chin: Path = ((296, 560), (330, 640), (384, 668), (440, 650), (480, 560), (480, 520), (296, 520))
    shade(canvas, (0.66, 0.56, 0.53), mask_of(under_chin, 14), neck)
    shade(canvas, (0.80, 0.72, 0.70), mask_of(((448, 540), (500, 540), (500, 720), (462, 700)), 14), neck)
    for path in both(((352, 690), (366, 722), (378, 742))):
        shade(canvas, (0.86, 0.80, 0.78), stroke_of(path, (6, 12, 8), 6), neck)
    for path in both(((296, 742), (330, 732), (362, 744))):
        paint(canvas, SKIN_LIGHT, stroke_of(path, (2, 8, 3), 5), 0.35, neck)


def _clothes(canvas: Picture) -> None:
    jumper: Path = (
        (384, 760), (330, 744), (286, 716), (258, 702), (180, 726), (96, 752), (40, 790), (20, 900), (748, 900), (728, 790), (672, 752),
        (588, 726), (510, 702), (482, 716), (438, 744),
    )  # fmt: skip
    cloth = mask_of(jumper, 0.8)
    paint(canvas, gradient((120, 700), (660, 800), ((70, 122, 134), (48, 98, 112), (34, 74, 90))), cloth)
    shade(canvas, (0.72, 0.74, 0.76), mask_of(((230, 690), (330, 760), (384, 776), (438, 760), (538, 690), (560, 730), (384, 800), (208, 730)), 9), cloth)
    for path in both(((262, 703), (290, 724), (332, 750), (384, 765))):
        paint(canvas, (96, 150, 160), stroke_of(path, (4, 7, 7, 6), 1.5), 0.55, cloth)


def _ears(canvas: Picture) -> None:
    for side, path in zip((1.0, -1.0), both(((550, 352), (566, 338), (580, 352), (578, 392), (566, 430), (552, 440), (544, 410))), strict=True):
        ear = mask_of(path, 0.8)
        paint(canvas, (214, 156, 128) if side < 0 else (190, 130, 104), ear)
        x = MIDDLE + side * 180
        shade(canvas, (0.76, 0.62, 0.58), ellipse_of(x, 385, 9, 30, 5, -0.12 * side), ear)


def _skin(canvas: Picture, face: Mask) -> None:
    soft = mask_of(FACE, 0.9)
    paint(canvas, glow(340, 330, 330, (SKIN_LIGHT, (244, 202, 172), SKIN, (206, 150, 120)), 1.25), soft)
    shade(canvas, (0.74, 0.62, 0.58), mask_of(((600, 150), (556, 260), (532, 400), (516, 520), (450, 616), (384, 640), (620, 660)), 24), face)
    shade(canvas, (0.90, 0.82, 0.79), mask_of(((170, 200), (222, 300), (236, 420), (262, 530), (330, 618), (160, 640)), 16), face)
    shade(canvas, (0.84, 0.75, 0.72), mask_of(((210, 140), (384, 128), (560, 140), (548, 230), (480, 196), (384, 186), (288, 196), (222, 230)), 18), face)
    shade(canvas, (0.88, 0.80, 0.77), mask_of(((310, 608), (384, 622), (458, 608), (440, 650), (384, 660), (328, 650)), 9), face)
    for side, opacity in ((-1.0, 0.36), (1.0, 0.40)):
        paint(canvas, BLUSH, ellipse_of(MIDDLE + side * 104, 452, 46, 32, 20, -0.35 * side), opacity, face)
        shade(canvas, (0.88, 0.79, 0.76), ellipse_of(MIDDLE + side * 84, 352, 58, 27, 13), face)
        shade(canvas, (0.86, 0.76, 0.73), ellipse_of(MIDDLE + side * 40, 352, 15, 26, 9), face)
        shade(canvas, (0.93, 0.87, 0.86), stroke_of([(MIDDLE + side * x, y) for x, y in ((52, 402), (84, 410), (116, 402))], (4, 9, 4), 4), face)
        paint(canvas, SKIN_LIGHT, ellipse_of(MIDDLE + side * 96, 424, 34, 13, 9, -0.3 * side), 0.5 if side < 0 else 0.3, face)
    paint(canvas, (255, 230, 206), ellipse_of(362, 250, 84, 40, 26), 0.5, face)
    paint(canvas, SKIN_LIGHT, ellipse_of(376, 600, 26, 13, 9), 0.5, face)


def _eye(canvas: Picture, side: float) -> None:
    def at(*path: tuple[float, float]) -> Path:
        return eye_at(side, path)

    opening = mask_of(at(*EYE), 0.5)
    paint(canvas, gradient((0, 352), (0, 388), ((196, 186, 182), (240, 235, 230), (234, 226, 220))), opening)
    shade(canvas, (0.86, 0.80, 0.80), mask_of(at((-44, 8), (-30, 0), (-26, 8), (-32, 14)), 4), opening)
    shade(canvas, (0.86, 0.82, 0.80), mask_of(at((46, 0), (30, -6), (28, 6), (32, 14)), 4), opening)
    paint(canvas, (226, 160, 148), ellipse_of(*at((-37, 6))[0], 5, 4, 1.5), 0.8, opening)
    x, y = at((0, -2))[0]
    x -= side * 1.0
    iris = ellipse_of(x, y, 18.5, 18.5, 0.7) * opening
    paint(canvas, glow(x, y, 19, ((150, 112, 66), (128, 88, 50), (92, 62, 38), (46, 32, 24))), iris)
    rng = np.random.default_rng(11)
    for angle in np.linspace(0, 2 * np.pi, 44, endpoint=False) + rng.normal(0, 0.03, 44):
        c, s = np.cos(angle), np.sin(angle)
        ray = stroke_of([(x + 8 * c, y + 8 * s), (x + 15 * c, y + 15 * s)], (0.7, 1.1), 0.4)
        paint(canvas, (196, 150, 92) if rng.random() < 0.6 else (70, 46, 30), ray, 0.4, iris)
    paint(canvas, (14, 10, 10), ellipse_of(x, y, 8.2, 8.2, 0.6), 1.0, iris)
    paint(canvas, (204, 158, 100), ellipse_of(x + 3, y + 9, 9, 5, 2.5), 0.45, iris)
    shade(canvas, (0.45, 0.42, 0.42), mask_of(at((-46, 4), (-18, -24), (2, -29), (22, -25), (46, 2), (36, -2), (20, -8), (2, -11), (-18, -8), (-34, 2)), 2.5), opening)
    paint(canvas, (255, 255, 255), ellipse_of(x - 6, y - 6.5, 3.8, 4.4, 0.6), 0.95, opening)
    paint(canvas, (235, 242, 250), ellipse_of(x + 6.5, y + 6, 2.0, 2.0, 0.8), 0.6, opening)
    lash = at((-42, 7), (-34, -3), (-18, -15), (2, -20), (22, -16), (38, -5), (49, -1))
    paint(canvas, (38, 24, 20), stroke_of(lash, (2.0, 4.0, 5.2, 5.6, 5.8, 5.0, 1.0), 0.8), 0.95)
    for start, end, bend in (((26, -14), (38, -24), 3), ((33, -9), (48, -17), 3), ((39, -4), (55, -9), 3), ((17, -17), (25, -28), 2), ((7, -19), (11, -29), 1)):
        middle = ((start[0] + end[0]) / 2 + bend, (start[1] + end[1]) / 2 + bend)
        paint(canvas, (38, 24, 20), stroke_of(at(start, middle, end), (2.4, 1.6, 0.4), 0.5), 0.8)
    paint(canvas, (150, 92, 72), stroke_of(at((-38, -8), (-20, -24), (2, -30), (24, -26), (42, -12)), (1.5, 3.2, 3.6, 3.2, 1.5), 1.2), 0.6)
    paint(canvas, SKIN_LIGHT, stroke_of(at((-22, -19), (2, -25), (24, -20)), (2, 4, 2), 2.2), 0.5)
    paint(canvas, (168, 104, 84), stroke_of(at((42, 3), (30, 12.5), (10, 17.5), (-12, 17.5), (-32, 12.5)), (2.6, 2.2, 1.6, 1.4, 1.0), 0.9), 0.7)
    paint(canvas, (246, 208, 188), stroke_of(at((34, 12), (10, 19.5), (-14, 19.5)), (1.2, 2.4, 1.2), 1.2), 0.5)


def _brow(canvas: Picture, side: float) -> None:
    def at(*path: tuple[float, float]) -> Path:
        return [(MIDDLE + side * x, y) for x, y in path]

    shape = at((34, 328), (54, 312), (86, 299), (116, 300), (146, 322), (116, 309), (88, 310), (58, 325), (38, 336))
    paint(canvas, HAIR, mask_of(shape, 2.6), 0.62)
    rng = np.random.default_rng(5)
    for place in np.linspace(0.02, 0.98, 70):
        x = 34 + 110 * place
        y = np.interp(x, (34, 54, 86, 116, 146), (333, 320, 305, 304, 322)) + rng.normal(0, 2.2)
        lean = np.interp(place, (0, 0.3, 1), (0.25, 0.9, 1.35))
        length = np.interp(place, (0, 0.5, 1), (12, 15, 10)) * rng.uniform(0.8, 1.2)
        path = at((x, y + 3), (x + length * 0.5 * np.sin(lean), y - length * 0.5 * np.cos(lean)), (x + length * np.sin(lean), y - length * 0.8 * np.cos(lean)))
        _thin(canvas, path, _mix(HAIR_DARK, HAIR, float(rng.random())), 2.0, 0.55)


def _nose(canvas: Picture, face: Mask) -> None:
    shade(canvas, (0.86, 0.76, 0.73), mask_of(((398, 350), (404, 400), (412, 440), (430, 462), (420, 480), (398, 470), (394, 400)), 7), face)
    shade(canvas, (0.95, 0.90, 0.88), mask_of(((370, 350), (362, 400), (350, 446), (342, 464), (354, 470), (366, 430)), 6), face)
    paint(canvas, (255, 232, 210), stroke_of(((382, 330), (380, 380), (379, 430)), (9, 12, 14), 7), 0.62, face)
    paint(canvas, (255, 236, 218), ellipse_of(378, 450, 13, 11, 6), 0.75, face)
    shade(canvas, (0.84, 0.73, 0.70), mask_of(((340, 474), (362, 482), (384, 488), (406, 482), (428, 474), (418, 492), (384, 502), (350, 492)), 6), face)
    for side in (-1.0, 1.0):
        def at(*path: tuple[float, float], side: float = side) -> Path:
            return [(MIDDLE + side * x, y) for x, y in path]

        shade(canvas, (0.76, 0.63, 0.58), stroke_of(at((38, 446), (45, 460), (42, 474), (32, 479)), (2, 5, 5, 3), 2.4), face)
        paint(canvas, (92, 44, 36), mask_of(at((12, 479), (20, 474.5), (30, 474), (31, 478), (22, 481)), 1.5), 0.85, face)
        paint(canvas, SKIN_LIGHT, ellipse_of(MIDDLE + side * 32, 460, 7, 8, 4), 0.4, face)


def _mouth(canvas: Picture, face: Mask) -> None:
    shade(canvas, (0.90, 0.82, 0.79), stroke_of(((384, 494), (384, 512)), (8, 12), 4), face)
    for side in (-1.0, 1.0):
        fold = [(MIDDLE + side * x, y) for x, y in ((52, 470), (72, 492), (86, 520))]
        shade(canvas, (0.91, 0.83, 0.80), stroke_of(fold, (2, 7, 3), 5), face)
        shade(canvas, (0.80, 0.69, 0.66), ellipse_of(MIDDLE + side * 70, 534, 7, 6, 4), face)
    top: Path = ((452, 533), (434, 526), (412, 518), (396, 514), (384, 518), (372, 514), (356, 518), (334, 526))
    bottom: Path = ((452, 533), (438, 547), (418, 559), (400, 565), (384, 566), (368, 565), (350, 559), (330, 547), (316, 533))
    upper = mask_of([*LIP_LINE, *top[1:]], 0.8)
    lower = mask_of([*LIP_LINE[:-1], *bottom], 0.8)
    shade(canvas, (0.78, 0.66, 0.62), mask_of(((340, 562), (384, 572), (428, 562), (416, 582), (384, 588), (352, 582)), 6), face)
    paint(canvas, gradient((0, 514), (0, 540), ((206, 116, 108), (188, 92, 88), (158, 66, 66))), upper)
    paint(canvas, gradient((0, 538), (0, 566), ((186, 84, 82), (214, 118, 112), (206, 112, 104))), lower)
    shade(canvas, (0.84, 0.78, 0.78), mask_of(((400, 512), (460, 525), (460, 545), (420, 566), (396, 570), (430, 540)), 9), np.maximum(upper, lower))
    paint(canvas, (248, 186, 176), ellipse_of(372, 551, 22, 5.5, 3.4), 0.72, lower)
    paint(canvas, (236, 166, 154), ellipse_of(363, 522, 12, 3, 2.2), 0.55, upper)
    paint(canvas, (250, 214, 190), stroke_of(((348, 517), (371, 509), (384, 513.5), (397, 509), (420, 517)), (1, 2.6, 2.2, 2.6, 1), 1.4), 0.55, face)
    paint(canvas, (92, 34, 36), stroke_of(LIP_LINE, (1.2, 2.2, 2.8, 3.0, 3.2, 3.0, 2.8, 2.2, 1.2), 0.8), 0.9)
    for side in (-1.0, 1.0):
        paint(canvas, (120, 58, 50), ellipse_of(MIDDLE + side * 68, 532.5, 4.5, 2.4, 1.8, -0.3 * side), 0.7, face)


def _hair_in_front(canvas: Picture) -> None:
    rng = np.random.default_rng(3)
    left: Path = (
        (420, 84), (360, 72), (290, 82), (226, 124), (186, 196), (172, 290), (176, 372), (196, 420), (206, 380), (214, 320), (232, 268),
        (270, 232), (330, 206), (390, 178), (428, 140),
    )  # fmt: skip
    right: Path = (
        (410, 90), (470, 76), (536, 112), (582, 186), (598, 290), (592, 372), (574, 424), (562, 380), (556, 320), (544, 262), (514, 218),
        (470, 186), (434, 150),
    )  # fmt: skip
    face = mask_of(FACE)
    for path, tones in ((right, ((74, 44, 33), (56, 33, 26), HAIR_DARK)), (left, ((104, 64, 45), HAIR, (52, 31, 24)))):
        sheet = mask_of(path, 1.0)
        shade(canvas, (0.66, 0.55, 0.52), mask_of([(x, y + 10) for x, y in path], 9), face)
        paint(canvas, gradient((300, 80), (250 if path is left else 600, 420), tones), sheet)
    _strands(
        canvas, rng, -1.0,
        outer=((-36, 84), (30, 74), (100, 84), (160, 126), (198, 196), (211, 290), (207, 372), (188, 418)),
        inner=((-44, 138), (-10, 172), (50, 202), (108, 228), (148, 266), (168, 318), (176, 376), (187, 416)),
        count=170, width=3.0,
    )  # fmt: skip
    _strands(
        canvas, rng, 1.0,
        outer=((30, 92), (86, 78), (150, 114), (196, 188), (212, 290), (206, 372), (190, 420)),
        inner=((50, 150), (84, 184), (128, 216), (158, 262), (171, 320), (178, 376), (190, 418)),
        count=110, width=3.0,
    )  # fmt: skip
    for path, opacity in (
        (((330, 104), (262, 138), (214, 206), (198, 290)), 0.34),
        (((372, 128), (310, 150), (252, 196), (222, 252)), 0.28),
        (((476, 104), (536, 156), (570, 236), (578, 300)), 0.16),
    ):
        paint(canvas, (206, 150, 106), stroke_of(path, (4, 22, 22, 4), 8), opacity)


def _light(canvas: Picture) -> None:
    """A warm light from the upper left over everything, a cooler falling off to the lower right."""
    shade(canvas, (1.05, 1.03, 1.0), ellipse_of(240, 200, 330, 330, 120))
    shade(canvas, (0.90, 0.91, 0.95), ellipse_of(760, 760, 300, 300, 120))


def _mix(a: Color, b: Color, share: float) -> Color:
    share = min(max(share, 0.0), 1.0)
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share)
