"""Source position in the photo of each pixel of the mouth.

The sum of the sway, the fields that both lips share, and the fields of each lip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.rendering.face_maps import COARSE_NODES, FaceMaps
from orchestrator.rendering.motion import CLOSED, JAW, OPEN, ROUND, TUCK, WIDE
from orchestrator.rendering.mouth_shape import smile_of
from orchestrator.rendering.warp import Field, dense, ring_nodes, ringed, sample

SMILE_REDUCTION: Final = 0.35
"""Share of a photographed broad smile that full opening removes.

No speaker says "aa" with the corners that wide.
"""

LIP_MARGIN: Final = 2
"""Nodes around the part that can show the inside of the mouth.

They hold the lips' soft edges, and corners that sway and widen.
"""

Positions = NDArray[np.complex64]
"""x + iy: numpy adds pairs as one number many times faster than as a last axis of two."""


@dataclass(frozen=True, slots=True, eq=False)
class MouthSources:
    """Positions in image pixels, for pixels of the frame."""

    box: Field
    """`[h, w, 2]` of the mouth box: the upper layer above the lips, the lower one below.

    Undefined between the lips.
    """
    upper: Field
    """`[h, w, 2]` of the lip box, upper layer."""
    lower: Field
    """`[h, w, 2]` of the lip box, lower layer."""


class MouthWarp:
    """Positions of both layers, computed once where one suffices.

    Outside a small box around the lips both layers move alike or only one of them shows.
    """

    def __init__(self, maps: FaceMaps, head: Field) -> None:
        self._step = max(maps.size // COARSE_NODES, 1)
        x, y, width, height = (int(v) for v in maps.mouth_box)
        rows, columns = height // self._step, width // self._step
        self._grid = (rows + 2, columns + 2)
        nodes = ring_nodes(columns, rows)
        sway = [
            ringed(
                _resample(basis, maps.size, (x, y, width, height), self._step)
                / np.float32(self._step)
            )
            for basis in head
        ]
        self._head = np.stack([*sway, nodes]).reshape(len(head) + 1, -1)
        self._common = ringed(maps.common).reshape(len(maps.common), -1)
        self._layers = ringed(maps.layers).reshape(len(maps.layers), -1)
        self._shrink = float(maps.mouth_frame[5])
        self._smile = smile_of(float(maps.mouth_frame[6]))
        self._scale = np.float32(1.5 * self._step)
        self._offset = np.complex64(
            complex(*(1.5 * (start - 0.5 * self._step) - 0.5 for start in (x, y)))
        )
        self._lip_nodes = _lip_nodes(maps, self._step)
        left, top, right, bottom = self._lip_nodes
        self.lip_box = (
            x + left * self._step,
            y + top * self._step,
            (right - left) * self._step,
            (bottom - top) * self._step,
        )
        """x, y, width, height in the frame of the box where both layers show side by side.

        The inside of the mouth shows only here too.
        """

    def sources(self, row: Sequence[float], head: Field) -> MouthSources:
        """Positions for a motion row.

        `head` `[4]` holds the weights of the sway's fields and of the nodes' own places.
        """
        upper, lower = self._layer_positions(row, head)
        left, top, right, bottom = self._lip_nodes
        split = (top + bottom) // 2 + 1
        lips = np.s_[top : bottom + 2, left : right + 2]
        return MouthSources(
            box=dense(_pairs(np.concatenate([upper[:split], lower[split:]])), self._step),
            upper=dense(_pairs(upper[lips]), self._step),
            lower=dense(_pairs(lower[lips]), self._step),
        )

    def _layer_positions(self, row: Sequence[float], head: Field) -> tuple[Positions, Positions]:
        """Positions of the upper and lower layer at each ringed grid node, in image pixels."""
        swayed = (head @ self._head).reshape(*self._grid, 2)
        common = (self._common_weights(row) @ self._common).reshape(*self._grid, 2)
        at = cv2.add(swayed, sample(common, swayed))
        layers = (_layer_weights(row) @ self._layers).reshape(*self._grid, 4)
        moved = sample(layers, at).view(np.complex64)
        place = at.view(np.complex64)[..., 0] * self._scale + self._offset
        return moved[..., 0] * self._scale + place, moved[..., 1] * self._scale + place

    def _common_weights(self, row: Sequence[float]) -> Field:
        """Weights of the fields that both layers share.

        Rounding scales the mouth by 1 - s r; the backward field is exact for any r with this
        weight. Opening reduces a smile.
        """
        rounded = row[ROUND]
        rounded += (1.0 - rounded) * SMILE_REDUCTION * self._smile * row[OPEN] * (1.0 - row[CLOSED])
        return np.array(
            [row[WIDE], rounded * (1.0 - self._shrink) / (1.0 - self._shrink * rounded)],
            dtype=np.float32,
        )


def _pairs(positions: Positions) -> Field:
    return positions.view(np.float32).reshape(*positions.shape, 2)


def _lip_nodes(maps: FaceMaps, step: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the lip box in nodes of the mouth box."""
    (x, y, width, height), (left, top, inner_width, inner_height) = (
        maps.mouth_box.tolist(),
        maps.cavity_box.tolist(),
    )
    right, bottom = left + inner_width - x, top + inner_height - y
    return (
        max((left - x) // step - LIP_MARGIN, 0),
        max((top - y) // step - LIP_MARGIN, 0),
        min(-(-right // step) + LIP_MARGIN, width // step),
        min(-(-bottom // step) + LIP_MARGIN, height // step),
    )


def _layer_weights(row: Sequence[float]) -> Field:
    open_now = row[OPEN] * (1.0 - row[CLOSED])
    oval = open_now * (0.15 + 0.85 * row[ROUND])
    return np.array(
        [1.0, open_now, oval, row[JAW] * (1.0 - 0.5 * row[CLOSED]), row[TUCK], row[CLOSED]],
        dtype=np.float32,
    )


def _resample(basis: Field, size: int, box: tuple[int, ...], step: int) -> Field:
    """One head basis `[32, 32, 2]` on the coarse grid of the box."""
    x, y, width, height = box
    full = cv2.resize(basis, (size, size), interpolation=cv2.INTER_LINEAR)[
        y : y + height, x : x + width
    ]
    return np.asarray(
        cv2.resize(full, (width // step, height // step), interpolation=cv2.INTER_AREA),
        dtype=np.float32,
    )
