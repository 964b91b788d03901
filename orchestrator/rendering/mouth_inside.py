"""Draws what shows between the lips: throat, tongue and teeth, in the shadow of the upper lip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.motion import CLOSED, OPEN, ROUND, TEETH
from orchestrator.rendering.face_maps import EDGE_CODE, SWAY_NODES, FaceMaps
from orchestrator.rendering.mouth_fields import GAP
from orchestrator.rendering.warp import Field
from orchestrator.types import RgbImage

JAW_TRAVEL: Final = 0.60 * GAP
"""How far the lower teeth go down at full opening, in neutral half mouth widths: less than the lip, so that it covers them."""


class InsidePainter:
    """The inside of one mouth; pictures are kept in planes, red, green and blue, since covers and shadows go for whole planes."""

    def __init__(self, maps: FaceMaps, head: Field) -> None:
        x, y, width, height = (int(v) for v in maps.cavity_box)
        self.window = np.s_[y : y + height, x : x + width]
        """The part of the frame that can show the inside."""
        self._size = (width, height)
        self._cavity = np.ascontiguousarray(np.moveaxis(maps.cavity, -1, 0), dtype=np.float32)
        self._upper = _premultiplied(maps.upper_teeth)
        self._lower = _premultiplied(maps.lower_jaw)
        axis_x, axis_y = float(maps.mouth_frame[2]), float(maps.mouth_frame[3])
        self._travel = float(maps.mouth_frame[4] * maps.mouth_frame[6]) * np.array([-axis_y, axis_x])
        self._sway = _at(head, maps.size, float(maps.mouth_frame[0]), float(maps.mouth_frame[1]))
        self._shadow = _shadow_table()

    def draw(self, row: Sequence[float], head: Field, window: RgbImage, opening: Field, upper_code: NDArray[np.uint8]) -> None:
        """Paint what `opening` (0..1, `[h, w]`) shows into `window`; `upper_code` `[h, w]` are distances to the upper lip's edge."""
        if float(opening.max()) < 0.004:
            return
        sway = head[: len(self._sway)] @ self._sway
        shown = np.float32(1.0 - 0.8 * row[ROUND] * (1.0 - row[TEETH]))
        inner = self._cavity.copy()
        _lay_over(inner, self._shifted(self._lower, sway - self._travel * _jaw_travel(row)), shown)
        _lay_over(inner, self._shifted(self._upper, sway), shown)
        inner *= np.take(self._shadow * np.float32(1.0 - 0.25 * row[ROUND]), upper_code, axis=1)
        inner += np.float32(0.5)
        picture = cv2.merge(list(inner.astype(np.uint8)))
        cv2.blendLinear(picture, window, opening, np.float32(1.0) - opening, dst=window)

    def _shifted(self, layer: Field, shift: Field) -> Field:
        """`[4, h, w]`: colours and cover of a layer, moved."""
        matrix = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved = cv2.warpAffine(layer, matrix, self._size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        planes = np.empty((4, *moved.shape[:2]), dtype=np.float32)
        cv2.mixChannels([moved], list(planes), [0, 0, 1, 1, 2, 2, 3, 3])
        return planes


def _jaw_travel(row: Sequence[float]) -> float:
    """Lower teeth follow the opening; `teeth` holds them near the upper ones."""
    open_now = row[OPEN] * (1.0 - row[CLOSED])
    return JAW_TRAVEL * open_now * (1.0 - 0.75 * row[TEETH] * max(0.0, 1.0 - 1.6 * open_now))


def _at(head: Field, size: int, x: float, y: float) -> Field:
    """Head basis `[3, 2]` at one place."""
    column, row = (int(np.clip(v * SWAY_NODES / size, 0, SWAY_NODES - 1)) for v in (x, y))
    return head[:, row, column]


def _shadow_table() -> Field:
    """Light inside the mouth `[3, 256]` by the distance under the upper lip's edge; light that reaches in deep is warm."""
    below = np.clip((128.0 - np.arange(256, dtype=np.float32)) / (0.26 * EDGE_CODE), 0.0, 1.0)
    dark = np.array([[0.80], [0.70], [0.66]], dtype=np.float32)
    return np.asarray(dark + (1.0 - dark) * below**0.7, dtype=np.float32)


def _premultiplied(layer: NDArray[np.uint8]) -> Field:
    color, cover = layer[..., :3].astype(np.float32), layer[..., 3:].astype(np.float32) / np.float32(255.0)
    return np.dstack([color * cover, cover]).astype(np.float32)


def _lay_over(back: Field, front: Field, shown: np.float32) -> None:
    """`front` `[4, h, w]` over `back` `[3, h, w]`, in place, fading with `shown`: teeth recede behind lips that are pushed forward."""
    front *= shown
    back *= np.float32(1.0) - front[3]
    back += front[:3]
