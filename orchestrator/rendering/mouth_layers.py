"""Draw the lips into a frame: both layers of the photo with soft edges, and what lies between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage
from orchestrator.rendering.face_maps import COARSE_NODES, EDGE_CODE, FaceMaps, edge_box
from orchestrator.rendering.motion import TUCK
from orchestrator.rendering.mouth_inside import InsidePainter
from orchestrator.rendering.mouth_warp import MouthSources
from orchestrator.rendering.warp import Field, sample

LIP_SOFTNESS: Final = 1.3
"""Width of the lips' edge in pixels of the frame."""

TUCK_DEPTH: Final = 0.13
"""Part of the lower lip that rolls in under the teeth for f and v, in neutral half mouth widths."""


class LipPainter:
    """Painter of the part of the frame where the lips meet.

    The rest of the mouth is one layer, drawn with the head.
    """

    def __init__(self, maps: FaceMaps, head: Field, lip_box: tuple[int, int, int, int]) -> None:
        x, y, width, height = lip_box
        self._window = np.s_[y : y + height, x : x + width]
        left, top, _, _ = edge_box(maps.size, maps.mouth_box.tolist())
        self._corner = np.array([left, top], dtype=np.float32)
        self._upper_edge, self._lower_edge = (
            np.ascontiguousarray(maps.edges[..., layer]) for layer in (0, 1)
        )
        self._distance = _distance_table(float(maps.mouth_frame[4]))
        self._cover = np.clip(self._distance, 0.0, 1.0)
        self._tuck = _tuck_profile(maps, lip_box)
        self._inside = InsidePainter(maps, head)
        inside_x, inside_y, inside_width, inside_height = (int(v) for v in maps.cavity_box)
        self._in_lips = np.s_[
            inside_y - y : inside_y - y + inside_height, inside_x - x : inside_x - x + inside_width
        ]

    def draw(
        self,
        row: Sequence[float],
        head: Field,
        image: RgbImage,
        sources: MouthSources,
        frame: RgbImage,
    ) -> None:
        """Paint the lips into `frame`, which shows the upper layer there.

        `image` is the photo with its lids.
        """
        upper_code = self._code(self._upper_edge, sources.upper)
        upper_cover = np.asarray(cv2.LUT(upper_code, self._cover), dtype=np.float32)
        lower_cover = self._lower_cover(self._code(self._lower_edge, sources.lower), row[TUCK])
        lower_cover = np.minimum(lower_cover, np.float32(1.0) - upper_cover)
        window = frame[self._window]
        cv2.blendLinear(window, sample(image, sources.lower), upper_cover, lower_cover, dst=window)
        lips = upper_cover[self._in_lips] + lower_cover[self._in_lips]
        self._inside.draw(
            row,
            head,
            frame[self._inside.window],
            (lips, np.float32(1.0) - lips),
            upper_code[self._in_lips],
        )

    def _code(self, edge: NDArray[np.uint8], where: Field) -> NDArray[np.uint8]:
        """Coded distances to a lip's edge, which exist for the surroundings of the mouth only."""
        return sample(edge, cv2.subtract(where, self._corner))

    def _lower_cover(self, code: NDArray[np.uint8], tuck: float) -> Field:
        """Cover of the lower lip.

        When it is tucked, its red rolls in under the teeth, so that its edge lies lower in the
        photo.
        """
        if tuck == 0.0:
            return np.asarray(cv2.LUT(code, self._cover), dtype=np.float32)
        return np.clip(cv2.LUT(code, self._distance) - self._tuck * np.float32(tuck), 0.0, 1.0)


def _tuck_profile(maps: FaceMaps, lip_box: tuple[int, int, int, int]) -> Field:
    """Recession of the lower lip's edge when fully tucked, in steps of cover.

    For pixels of the lip box.
    """
    step = max(maps.size // COARSE_NODES, 1)
    rows, columns = maps.tuck_profile.shape
    left, top = lip_box[0] - int(maps.mouth_box[0]), lip_box[1] - int(maps.mouth_box[1])
    full = cv2.resize(
        maps.tuck_profile, (columns * step, rows * step), interpolation=cv2.INTER_LINEAR
    )
    depth = TUCK_DEPTH * float(maps.mouth_frame[6]) * float(maps.mouth_frame[4]) / LIP_SOFTNESS
    return full[top : top + lip_box[3], left : left + lip_box[2]] * np.float32(depth)


def _distance_table(unit: float) -> Field:
    """Cover for each coded distance before clipping to 0..1.

    A soft edge LIP_SOFTNESS pixels wide.
    """
    distance = (np.arange(256, dtype=np.float32) - 128.0) / EDGE_CODE
    return np.asarray(distance * (unit / LIP_SOFTNESS) + 0.5, dtype=np.float32)
