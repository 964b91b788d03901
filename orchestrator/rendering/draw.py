"""Draws frames of one face: a frame is a linear sum of its maps, two layers, the inner mouth between them, lids and sway."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.motion import BLINK, MOTION_PARAMETERS, ROLL, SWAY_X, SWAY_Y
from orchestrator.rendering.face_maps import SWAY_NODES, FaceMaps
from orchestrator.rendering.lids import LidPainter
from orchestrator.rendering.mouth_layers import MouthPainter
from orchestrator.rendering.warp import Field, identity, sample
from orchestrator.types import RgbImage

LOWEST: Final = np.array([0.0] * (BLINK + 1) + [-0.02, -0.02, -0.05], dtype=np.float32)
HIGHEST: Final = np.array([1.0] * (BLINK + 1) + [0.02, 0.02, 0.05], dtype=np.float32)
"""Motion is clipped to these: MOTION_PARAMETERS' ranges, and head movement that the margins have room for."""


class FaceRenderer:
    """Draws one face; keeps nothing between frames, so frames may be drawn in any order."""

    def __init__(self, maps: FaceMaps) -> None:
        self.maps = maps
        self._base = identity(maps.size, maps.size, 0.0, 0.0)
        self._head = _head_basis(maps)
        self._mouth = MouthPainter(maps, self._head)
        self._lids = [LidPainter(maps.right_lid, maps.lid_boxes[0], maps.lash), LidPainter(maps.left_lid, maps.lid_boxes[1], maps.lash)]

    def draw(self, motion: NDArray[np.float32]) -> RgbImage:
        """One frame `[size, size, 3]` for a row `[11]` of MOTION_PARAMETERS; values outside their range are clipped."""
        row = _clipped(motion)
        head = np.array([-row[SWAY_X], -row[SWAY_Y], -row[ROLL]], dtype=np.float32)
        image = self._blinking(float(row[BLINK]))
        frame = self._whole(image, head)
        self._mouth.draw(row, head, image, frame)
        return frame

    def _blinking(self, blink: float) -> RgbImage:
        """The photo with its lids as far down as `blink` says."""
        if blink < 0.01:
            return self.maps.image
        image = self.maps.image.copy()
        for lid in self._lids:
            lid.draw(image, blink)
        return image

    def _whole(self, image: RgbImage, head: Field) -> RgbImage:
        """The head's sway; the mouth is as photographed."""
        size = self.maps.size
        moved = (head @ self._head.reshape(3, -1)).reshape(SWAY_NODES, SWAY_NODES, 2)
        where = cv2.add(cv2.resize(moved * np.float32(1.5), (size, size), interpolation=cv2.INTER_LINEAR), self._base)
        return np.asarray(sample(image, where), dtype=np.uint8)


def _clipped(motion: NDArray[np.float32]) -> Field:
    if motion.shape != (len(MOTION_PARAMETERS),):
        raise ValueError(f"motion: shape {motion.shape}, expected ({len(MOTION_PARAMETERS)},)")
    row: Field = motion.astype(np.float32)
    row[~np.isfinite(row)] = 0.0
    np.clip(row, LOWEST, HIGHEST, out=row)
    return row


def _head_basis(maps: FaceMaps) -> Field:
    """`[3, 32, 32, 2]` frame pixels moved per unit of sway x, sway y and roll."""
    nodes = (np.arange(SWAY_NODES, dtype=np.float32) + 0.5) * maps.size / SWAY_NODES - 0.5
    x, y = np.meshgrid(nodes, nodes)
    shift, roll = maps.sway
    zero = np.zeros_like(shift)
    rotation = np.stack([-(y - maps.pivot[1]) * roll, (x - maps.pivot[0]) * roll], axis=-1)
    basis = [np.stack([shift * maps.size, zero], axis=-1), np.stack([zero, shift * maps.size], axis=-1), rotation]
    return np.asarray(np.stack(basis), dtype=np.float32)
