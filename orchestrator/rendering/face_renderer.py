"""Draw frames of one face from its maps.

The photo is warped by the head's sway and the mouth's fields; lips, the inside of the mouth and
lids are drawn into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage
from orchestrator.rendering.face_maps import SWAY_NODES, FaceMaps
from orchestrator.rendering.lids import LidPainter
from orchestrator.rendering.motion import BLINK, MOTION_PARAMETERS, ROLL, SWAY_X, SWAY_Y
from orchestrator.rendering.mouth_layers import LipPainter
from orchestrator.rendering.mouth_warp import MouthWarp
from orchestrator.rendering.warp import Field, dense, ring_nodes, ringed, sample_into

MIN_MOTION: Final = np.array([0.0] * (BLINK + 1) + [-0.02, -0.02, -0.05], dtype=np.float32)
MAX_MOTION: Final = np.array([1.0] * (BLINK + 1) + [0.02, 0.02, 0.05], dtype=np.float32)
"""Upper bounds of motion: the parameters' ranges, and the head movement that the margins allow."""


class FaceRenderer:
    """Draws one face; stateless, so frames may be drawn in any order and in any thread."""

    def __init__(self, maps: FaceMaps) -> None:
        self.maps = maps
        head = _head_basis(maps)
        self._pitch = maps.size // SWAY_NODES
        self._head = _head_positions(head, self._pitch)
        self._mouth = MouthWarp(maps, head)
        self._mouth_window, self._lip_window = (
            _window(maps.mouth_box.tolist()),
            _window(self._mouth.lip_box),
        )
        self._lips = LipPainter(maps, head, self._mouth.lip_box)
        self._lids = [
            LidPainter(maps.right_lid, maps.lid_boxes[0], maps.lash),
            LidPainter(maps.left_lid, maps.lid_boxes[1], maps.lash),
        ]

    def draw(self, motion: NDArray[np.float32]) -> RgbImage:
        """One frame `[size, size, 3]` for a row `[11]` of MOTION_PARAMETERS.

        Values outside their range are clipped.
        """
        frame = np.empty((self.maps.size, self.maps.size, 3), dtype=np.uint8)
        self.draw_into(motion, frame)
        return frame

    def draw_into(self, motion: NDArray[np.float32], frame: RgbImage) -> None:
        """As `draw`, into the C-contiguous `frame`; ValueError for another shape or type."""
        if (
            frame.shape != (self.maps.size, self.maps.size, 3)
            or frame.dtype != np.uint8
            or not frame.flags.c_contiguous
        ):
            raise ValueError(
                f"frame: shape {frame.shape} of {frame.dtype}, expected [{self.maps.size}, "
                f"{self.maps.size}, 3] of uint8"
            )
        row: list[float] = _clipped(motion).tolist()
        head = np.array([-row[SWAY_X], -row[SWAY_Y], -row[ROLL], 1.0], dtype=np.float32)
        image = self._blinking(row[BLINK])
        mouth = self._mouth.sources(row, head)
        where = dense((head @ self._head).reshape(SWAY_NODES + 2, SWAY_NODES + 2, 2), self._pitch)
        where[self._mouth_window] = mouth.box
        where[self._lip_window] = mouth.upper
        sample_into(image, where, frame)
        self._lips.draw(row, head, image, mouth, frame)

    def _blinking(self, blink: float) -> RgbImage:
        """The photo with its lids closed by `blink`, 0..1."""
        if blink < 0.01:
            return self.maps.image
        image = self.maps.image.copy()
        for lid in self._lids:
            lid.draw(image, blink)
        return image


def _window(box: Sequence[int]) -> tuple[slice, slice]:
    x, y, width, height = box
    return np.s_[y : y + height, x : x + width]


def _clipped(motion: NDArray[np.float32]) -> Field:
    if motion.shape != (len(MOTION_PARAMETERS),):
        raise ValueError(f"motion: shape {motion.shape}, expected ({len(MOTION_PARAMETERS)},)")
    row: Field = motion.astype(np.float32)
    row[~np.isfinite(row)] = 0.0
    np.clip(row, MIN_MOTION, MAX_MOTION, out=row)
    return row


def _head_basis(maps: FaceMaps) -> Field:
    """`[3, 32, 32, 2]` frame pixels moved per unit of sway x, sway y and roll."""
    nodes = (np.arange(SWAY_NODES, dtype=np.float32) + 0.5) * maps.size / SWAY_NODES - 0.5
    x, y = np.meshgrid(nodes, nodes)
    shift, roll = maps.sway
    zero = np.zeros_like(shift)
    rotation = np.stack([-(y - maps.pivot[1]) * roll, (x - maps.pivot[0]) * roll], axis=-1)
    basis = [
        np.stack([shift * maps.size, zero], axis=-1),
        np.stack([zero, shift * maps.size], axis=-1),
        rotation,
    ]
    return np.asarray(np.stack(basis), dtype=np.float32)


def _head_positions(head: Field, pitch: int) -> Field:
    """`[4, 34 * 34 * 2]`: the head basis in image pixels on a ringed grid, and the nodes.

    Each node's own position is the fourth row, which always has weight one.
    """
    still = (ring_nodes(SWAY_NODES, SWAY_NODES) - 0.5) * np.float32(1.5 * pitch) - np.float32(0.5)
    positions: Field = np.concatenate([ringed(head) * np.float32(1.5), still[None]])
    return positions.reshape(len(head) + 1, -1)
