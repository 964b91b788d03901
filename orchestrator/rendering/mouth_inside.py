"""Draw the inside of the mouth: throat, tongue and teeth, in the shadow of the upper lip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage
from orchestrator.rendering.face_maps import EDGE_CODE, SWAY_NODES, FaceMaps
from orchestrator.rendering.motion import CLOSED, OPEN, ROUND, TEETH
from orchestrator.rendering.mouth_fields import MAX_GAP
from orchestrator.rendering.warp import Field

JAW_TRAVEL: Final = 0.60 * MAX_GAP
"""Drop of the lower teeth at full opening, in neutral half mouth widths.

Less than the lip's, so that it covers them.
"""


Covers: TypeAlias = tuple[Field, Field]
"""Shares `[h, w]`, together 1, of each pixel that the lips cover and that they leave open."""


class InsidePainter:
    """Painter of the inside of one mouth.

    Bytes are the fastest type for so small an image; their rounding stays under two grey levels.
    """

    def __init__(self, maps: FaceMaps, head: Field) -> None:
        x, y, width, height = (int(v) for v in maps.cavity_box)
        self.window = np.s_[y : y + height, x : x + width]
        """The part of the frame that can show the inside."""
        self._size = (width, height)
        self._cavity = maps.cavity
        self._upper = _premultiplied(maps.upper_teeth)
        self._lower = _premultiplied(maps.lower_jaw)
        axis_x, axis_y = float(maps.mouth_frame[2]), float(maps.mouth_frame[3])
        self._travel = float(maps.mouth_frame[4] * maps.mouth_frame[6]) * np.array(
            [-axis_y, axis_x]
        )
        self._sway = _at(head, maps.size, float(maps.mouth_frame[0]), float(maps.mouth_frame[1]))
        self._shadow = _shadow_table()

    def draw(
        self,
        row: Sequence[float],
        head: Field,
        window: RgbImage,
        covers: Covers,
        upper_code: NDArray[np.uint8],
    ) -> None:
        """Paint what the lips leave open into `window`.

        `upper_code` `[h, w]` are distances to the upper lip's edge.
        """
        lips, opening = covers
        if float(opening.max()) < 0.004:
            return
        sway = head[: len(self._sway)] @ self._sway
        shown = 1.0 - 0.8 * row[ROUND] * (1.0 - row[TEETH])
        inner = _over(
            self._cavity, self._shifted(self._lower, sway - self._travel * _jaw_travel(row)), shown
        )
        inner = _over(inner, self._shifted(self._upper, sway), shown)
        shadow = cv2.LUT(cv2.merge([upper_code, upper_code, upper_code]), self._shadow)
        shaded = cv2.multiply(inner, shadow, scale=(1.0 - 0.25 * row[ROUND]) / 255.0)
        cv2.blendLinear(shaded, window, opening, lips, dst=window)

    def _shifted(
        self, layer: NDArray[np.uint8], shift: NDArray[np.floating[Any]]
    ) -> NDArray[np.uint8]:
        matrix = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(
            cv2.warpAffine(layer, matrix, self._size, flags=flags, borderMode=cv2.BORDER_REPLICATE),
            dtype=np.uint8,
        )


def _jaw_travel(row: Sequence[float]) -> float:
    """Drop of the lower teeth, which follow the opening; `teeth` holds them near the upper ones."""
    open_now = row[OPEN] * (1.0 - row[CLOSED])
    return JAW_TRAVEL * open_now * (1.0 - 0.75 * row[TEETH] * max(0.0, 1.0 - 1.6 * open_now))


def _at(head: Field, size: int, x: float, y: float) -> Field:
    """Head basis `[3, 2]` at one place."""
    column, row = (int(np.clip(v * SWAY_NODES / size, 0, SWAY_NODES - 1)) for v in (x, y))
    return head[:, row, column]


def _shadow_table() -> NDArray[np.uint8]:
    """Light inside the mouth, per channel, by the distance under the upper lip's edge.

    Light that reaches in deep is warm.
    """
    below = np.clip((128.0 - np.arange(256)) / (0.26 * EDGE_CODE), 0.0, 1.0)[:, None]
    dark = np.array([0.80, 0.70, 0.66])
    return np.asarray(np.rint(255.0 * (dark + (1.0 - dark) * below**0.7)), dtype=np.uint8)[
        :, None, :
    ]


def _premultiplied(layer: NDArray[np.uint8]) -> NDArray[np.uint8]:
    cover = layer[..., 3:]
    return np.dstack([np.rint(layer[..., :3] * (cover / 255.0)).astype(np.uint8), cover])


def _over(back: RgbImage, front: NDArray[np.uint8], shown: float) -> RgbImage:
    """`front` over `back`, fading with `shown`.

    Teeth recede behind lips that are pushed forward.
    """
    cover = np.empty_like(back)
    cv2.mixChannels([front], [cover], [3, 0, 3, 1, 3, 2])
    left = cv2.subtract(back, cv2.multiply(back, cover, scale=shown / 255.0))
    return np.asarray(
        cv2.addWeighted(left, 1.0, cv2.cvtColor(front, cv2.COLOR_RGBA2RGB), shown, 0.0),
        dtype=np.uint8,
    )
