"""Drawing primitives of the demo portrait on one RGB canvas.

Soft-edged shapes from splines, gradients and strands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE: Final = 768
"""Side of the canvas; the unit of all coordinates."""

OVERSAMPLING: Final = 2

Mask = NDArray[np.float32]
Picture = NDArray[np.float32]
"""`[side, side, 3]` RGB, 0..255."""

Path = Sequence[tuple[float, float]]
Color = tuple[float, float, float]


def mask_of(path: Path, blur: float = 0.0, *, closed: bool = True) -> Mask:
    """Cover `[side, side]` of the area inside the smooth curve through `path`.

    `blur` is a sigma in drawing units.
    """
    mask = np.zeros((SIDE * OVERSAMPLING,) * 2, dtype=np.uint8)
    outline = _fixed(spline(path, closed=closed))
    cv2.fillPoly(mask, [outline], (255.0,), lineType=cv2.LINE_AA, shift=4)
    return softened(mask.astype(np.float32) / np.float32(255.0), blur)


def stroke_of(path: Path, widths: Sequence[float], blur: float = 0.0) -> Mask:
    """Cover of a brush stroke along the smooth open curve through `path`.

    `widths` are spread evenly along it.
    """
    line = spline(path, closed=False)
    half = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, len(widths)), widths) / 2.0
    mask = np.zeros((SIDE * OVERSAMPLING,) * 2, dtype=np.uint8)
    cv2.fillPoly(mask, [_fixed(_widened(line, half))], (255.0,), lineType=cv2.LINE_AA, shift=4)
    return softened(mask.astype(np.float32) / np.float32(255.0), blur)


def strand(canvas: Picture, path: Path, color: Color, width: float, opacity: float) -> None:
    """Paint a hair that tapers at both ends.

    In its own bounding box, because there are hundreds.
    """
    line = spline(path, closed=False)
    half = np.sin(np.linspace(0.05, np.pi - 0.05, len(line))) ** 0.5 * width / 2.0
    outline = _fixed(_widened(line, half))
    low = np.maximum(outline.min(axis=0) // 16 - 6, 0)
    high = np.minimum(outline.max(axis=0) // 16 + 6, SIDE * OVERSAMPLING)
    if (high <= low).any():
        return
    mask = np.zeros((high[1] - low[1], high[0] - low[0]), dtype=np.uint8)
    cv2.fillPoly(mask, [outline - low * 16], (255.0,), lineType=cv2.LINE_AA, shift=4)
    soft = cv2.GaussianBlur(mask, (0, 0), 0.9).astype(np.float32) * np.float32(opacity / 255.0)
    window = canvas[low[1] : high[1], low[0] : high[0]]
    window += (np.asarray(color, dtype=np.float32) - window) * soft[..., None]


def ellipse_of(
    x: float, y: float, half_width: float, half_height: float, blur: float = 0.0, turn: float = 0.0
) -> Mask:
    """Cover of an ellipse turned by `turn` radians."""
    angle = np.linspace(0.0, 2.0 * np.pi, 48, endpoint=False)
    px, py = half_width * np.cos(angle), half_height * np.sin(angle)
    c, s = np.cos(turn), np.sin(turn)
    return mask_of(
        [(x + c * a - s * b, y + s * a + c * b) for a, b in zip(px, py, strict=True)], blur
    )


def softened(mask: Mask, blur: float) -> Mask:
    """The mask blurred; large blurs are done on a smaller grid."""
    if blur <= 0.0:
        return mask
    sigma = blur * OVERSAMPLING
    if sigma < 8.0:
        return cv2.GaussianBlur(mask, (0, 0), sigma).astype(np.float32)
    small = cv2.resize(mask, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / 4.0)
    return np.asarray(
        cv2.resize(small, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_CUBIC),
        dtype=np.float32,
    ).clip(0.0, 1.0)


def paint(
    canvas: Picture,
    color: Color | Picture,
    mask: Mask,
    opacity: float = 1.0,
    inside: Mask | None = None,
) -> None:
    """Lay `color` (0..255) over the canvas where `mask` covers it.

    Only `inside` another mask when that is given.
    """
    cover = mask * np.float32(opacity) if inside is None else mask * inside * np.float32(opacity)
    canvas += (np.asarray(color, dtype=np.float32) - canvas) * cover[..., None]


def shade(canvas: Picture, factor: Color, mask: Mask, inside: Mask | None = None) -> None:
    """Multiply the canvas by `factor` where `mask` covers it.

    A shadow (below 1) or a glow (above).
    """
    cover = mask if inside is None else mask * inside
    canvas *= 1.0 + (np.asarray(factor, dtype=np.float32) - 1.0) * cover[..., None]


def gradient(
    start: tuple[float, float], end: tuple[float, float], colors: Sequence[Color]
) -> Picture:
    """Colours spread evenly from `start` to `end`, constant across."""
    x, y = _grid()
    dx, dy = end[0] - start[0], end[1] - start[1]
    place = ((x - start[0]) * dx + (y - start[1]) * dy) / (dx * dx + dy * dy)
    return _spread(np.asarray(place, np.float32), colors)


def glow(
    x: float, y: float, radius: float, colors: Sequence[Color], flatten: float = 1.0
) -> Picture:
    """Colours spread evenly from the centre outwards to `radius`.

    `flatten` below 1 squeezes it in height.
    """
    across, down = _grid()
    return _spread(
        np.asarray(np.hypot(across - x, (down - y) / flatten) / radius, np.float32), colors
    )


def spline(
    path: Path | NDArray[np.float64], *, closed: bool, steps: int = 14
) -> NDArray[np.float64]:
    """Points of the centripetal-like Catmull-Rom curve through `path`."""
    points = np.asarray(path, dtype=np.float64)
    if closed:
        around = np.vstack([points[-1:], points, points[:2]])
    else:
        around = np.vstack([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = np.linspace(0.0, 1.0, steps, endpoint=False)[:, None]
    pieces = [_piece(around[i : i + 4], t) for i in range(len(around) - 3)]
    return np.vstack([*pieces, points[:1] if closed else points[-1:]])


def _piece(points: NDArray[np.float64], t: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b, c, d = points
    curve: NDArray[np.float64] = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return curve


def _widened(line: NDArray[np.float64], half: NDArray[np.float64]) -> NDArray[np.float64]:
    """The outline of a line drawn with a brush of half widths `half`."""
    tangent = np.gradient(line, axis=0)
    normal = (
        np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
        / np.maximum(np.hypot(*tangent.T), 1e-9)[:, None]
    )
    return np.vstack([line + normal * half[:, None], (line - normal * half[:, None])[::-1]])


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Drawing units to OpenCV's fixed point with four binary places."""
    return np.asarray(
        np.rint((points * OVERSAMPLING + (OVERSAMPLING - 1) / 2.0) * 16.0), dtype=np.int32
    )


def _grid() -> tuple[Mask, Mask]:
    half = np.float32(0.5)
    line = (np.arange(SIDE * OVERSAMPLING, dtype=np.float32) + half) / np.float32(
        OVERSAMPLING
    ) - half
    x, y = np.meshgrid(line, line)
    return x, y


def _spread(place: Mask, colors: Sequence[Color]) -> Picture:
    stops = np.linspace(0.0, 1.0, len(colors))
    return np.stack(
        [np.interp(place, stops, [c[i] for c in colors]) for i in range(3)], axis=-1
    ).astype(np.float32)


def mixed(a: Color, b: Color, share: float) -> Color:
    """`a` at 0, `b` at 1."""
    share = min(max(share, 0.0), 1.0)
    return (
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
    )
