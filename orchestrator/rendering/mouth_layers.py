"""Draws the moving mouth into a frame: upper and lower layer of the photo, what shows between them, soft lips on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.motion import CLOSED, JAW, OPEN, ROUND, TEETH, TUCK, WIDE
from orchestrator.rendering.face_maps import COARSE, EDGE_CODE, SWAY_NODES, FaceMaps, edge_box
from orchestrator.rendering.mouth_fields import GAP
from orchestrator.rendering.mouth_shape import smile_of
from orchestrator.rendering.warp import Field, identity, sample
from orchestrator.types import RgbImage

RGB: Final = [0, 0, 1, 1, 2, 2]
"""Channels for `cv2.mixChannels`: several times faster than numpy where one picture has four and the other three."""

LIP_SOFTNESS: Final = 1.3
"""Width of the lips' edge in pixels of the frame."""

TUCK_DEPTH: Final = 0.13
"""How much of the lower lip rolls in under the teeth for f and v, in neutral half mouth widths."""

UNSMILE: Final = 0.35
"""How far full opening rounds a photographed broad smile: nobody says "aa" with the corners that wide."""

JAW_TRAVEL: Final = 0.60 * GAP
"""How far the lower teeth go down at full opening, in neutral half mouth widths: less than the lip, so that it covers them."""



class MouthPainter:
    """The part of the frame that the mouth moves."""

    def __init__(self, maps: FaceMaps, head: Field) -> None:
        self._maps = maps
        self._box = tuple(int(v) for v in maps.mouth_box)
        x, y, width, height = self._box
        self._step = max(maps.size // COARSE, 1)
        left, top, edge_width, edge_height = edge_box(maps.size, maps.mouth_box.tolist())
        self._corner = (left, top)
        photo = maps.image[top : top + edge_height, left : left + edge_width]
        self._upper = np.ascontiguousarray(np.dstack([photo, maps.edges[..., 0]]))
        self._lower = np.ascontiguousarray(np.dstack([photo, maps.edges[..., 1]]))
        shared = [_overlap((left, top, edge_width, edge_height), box) for box in maps.lid_boxes.tolist()]
        self._eyes = [(x, y, width, height) for x, y, width, height in shared if width > 0 and height > 0]
        self._base = identity(width, height, 1.5 * x - left, 1.5 * y - top)
        rows, columns = np.mgrid[0 : height // self._step, 0 : width // self._step]
        self._nodes = np.stack([columns, rows], axis=-1).astype(np.float32)
        self._head = np.stack([_resample(basis, maps.size, self._box, self._step) for basis in head]) / np.float32(self._step)
        self._common = maps.common.reshape(len(maps.common), -1)
        self._layers = maps.layers.reshape(len(maps.layers), -1)
        self._unit = float(maps.mouth_frame[4])
        self._scale = float(maps.mouth_frame[6])
        self._smile = smile_of(self._scale)
        self._distance = _distance_table(self._unit)
        self._cover = np.clip(self._distance, 0.0, 1.0)
        self._tuck_profile = cv2.resize(maps.tuck_profile, (width, height), interpolation=cv2.INTER_LINEAR)
        self._inner = _Inner(maps, head)

    def draw(self, row: Field, head: Field, image: RgbImage, frame: RgbImage) -> None:
        """Paint the mouth into `frame`; `image` is the photo with its lids."""
        upper_at, lower_at = self._sources(row, head)
        upper, lower = sample(self._with_lids(self._upper, image), upper_at), sample(self._with_lids(self._lower, image), lower_at)
        upper_code = np.asarray(cv2.extractChannel(upper, 3), dtype=np.uint8)
        upper_cover = np.asarray(cv2.LUT(upper_code, self._cover), dtype=np.float32)
        lower_code = np.asarray(cv2.extractChannel(lower, 3), dtype=np.uint8)
        lower_cover = np.minimum(self._lower_cover(lower_code, float(row[TUCK])), 1.0 - upper_cover)
        face = cv2.blendLinear(upper, lower, upper_cover, lower_cover)
        x, y, width, height = self._box
        cv2.mixChannels([face], [frame[y : y + height, x : x + width]], RGB)
        self._inner.draw(row, head, frame, 1.0 - upper_cover - lower_cover, upper_code)

    def _with_lids(self, layer: NDArray[np.uint8], image: RgbImage) -> NDArray[np.uint8]:
        """A tilted head's mouth box reaches its eyes: then a blink has to be in the layers too."""
        if image is self._maps.image or not self._eyes:
            return layer
        layer, (left, top) = layer.copy(), self._corner
        for x, y, width, height in self._eyes:
            window = layer[y - top : y - top + height, x - left : x - left + width]
            cv2.mixChannels([image[y : y + height, x : x + width]], [window], RGB)
        return layer

    def _lower_cover(self, code: NDArray[np.uint8], tuck: float) -> Field:
        """The lower lip; tucked, its red rolls in under the teeth, so that its edge lies lower in the photo."""
        if tuck == 0.0:
            return np.asarray(cv2.LUT(code, self._cover), dtype=np.float32)
        inset = self._tuck_profile * np.float32(tuck * TUCK_DEPTH * self._scale * self._unit / LIP_SOFTNESS)
        return np.clip(cv2.LUT(code, self._distance) - inset, 0.0, 1.0)

    def _sources(self, row: Field, head: Field) -> tuple[Field, Field]:
        """Where each pixel of the box comes from in the upper and lower layer: sway, then common, then layer displacement."""
        shape = self._nodes.shape[:2]
        swayed = self._nodes + (head @ self._head.reshape(3, -1)).reshape(*shape, 2)
        common = (self._common_weights(row) @ self._common).reshape(*shape, 2)
        at = swayed + sample(common, swayed)
        layers = (_layer_weights(row) @ self._layers).reshape(*shape, 4)
        moved = sample(layers, at)
        at -= self._nodes
        return self._full(at + moved[..., :2]), self._full(at + moved[..., 2:])

    def _full(self, coarse: Field) -> Field:
        _, _, width, height = self._box
        coarse *= np.float32(1.5 * self._step)
        return np.asarray(cv2.add(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), self._base), dtype=np.float32)

    def _common_weights(self, row: Field) -> Field:
        """Rounding scales the mouth by 1 - s r; the backward field is exact for any r with this weight. Opening takes back a smile."""
        shrink = float(self._maps.mouth_frame[5])
        rounded = float(row[ROUND])
        rounded += (1.0 - rounded) * UNSMILE * self._smile * float(row[OPEN] * (1.0 - row[CLOSED]))
        return np.array([row[WIDE], rounded * (1.0 - shrink) / (1.0 - shrink * rounded)], dtype=np.float32)


class _Inner:
    """Throat, tongue and teeth."""

    def __init__(self, maps: FaceMaps, head: Field) -> None:
        x, y, width, height = (int(v) for v in maps.cavity_box)
        left, top, _, _ = (int(v) for v in maps.mouth_box)
        self._in_frame = np.s_[y : y + height, x : x + width]
        self._in_box = np.s_[y - top : y - top + height, x - left : x - left + width]
        self._size = (width, height)
        self._cavity = maps.cavity.astype(np.float32)
        self._upper = _premultiplied(maps.upper_teeth)
        self._lower = _premultiplied(maps.lower_jaw)
        axis_x, axis_y = float(maps.mouth_frame[2]), float(maps.mouth_frame[3])
        self._travel = float(maps.mouth_frame[4] * maps.mouth_frame[6]) * np.array([-axis_y, axis_x])
        self._sway = _at(head, maps.size, float(maps.mouth_frame[0]), float(maps.mouth_frame[1]))
        self._shadow = _shadow_table()

    def draw(self, row: Field, head: Field, frame: RgbImage, opening: Field, upper_code: NDArray[np.uint8]) -> None:
        """Paint what `opening` (0..1, `[h, w]` of the mouth box) shows into `frame`."""
        opening = opening[self._in_box]
        if float(opening.max()) < 0.004:
            return
        sway = head @ self._sway
        shown = np.float32(1.0 - 0.8 * row[ROUND] * (1.0 - row[TEETH]))
        inner = _over(self._cavity, self._shifted(self._lower, sway - self._travel * self._jaw_travel(row)), shown)
        inner = _over(inner, self._shifted(self._upper, sway), shown)
        code = np.ascontiguousarray(upper_code[self._in_box])
        inner *= np.asarray(cv2.LUT(cv2.merge([code, code, code]), self._shadow), dtype=np.float32)
        inner *= np.float32(1.0 - 0.25 * row[ROUND])
        window = frame[self._in_frame]
        window[...] = window + (inner - window) * opening[..., None] + np.float32(0.5)

    def _jaw_travel(self, row: Field) -> float:
        """Lower teeth follow the opening; `teeth` holds them near the upper ones."""
        open_now = float(row[OPEN] * (1.0 - row[CLOSED]))
        return JAW_TRAVEL * open_now * (1.0 - 0.75 * float(row[TEETH]) * max(0.0, 1.0 - 1.6 * open_now))

    def _shifted(self, layer: Field, shift: Field) -> Field:
        matrix = np.array([[1.0, 0.0, shift[0]], [0.0, 1.0, shift[1]]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(layer, matrix, self._size, flags=flags, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)


def _overlap(first: Sequence[int], second: Sequence[int]) -> tuple[int, int, int, int]:
    """What two boxes (x, y, width, height) share; its width or height is not positive if they share nothing."""
    left, top = max(first[0], second[0]), max(first[1], second[1])
    right, bottom = min(first[0] + first[2], second[0] + second[2]), min(first[1] + first[3], second[1] + second[3])
    return left, top, right - left, bottom - top


def _layer_weights(row: Field) -> Field:
    open_now = row[OPEN] * (1.0 - row[CLOSED])
    oval = open_now * (0.15 + 0.85 * row[ROUND])
    return np.array([1.0, open_now, oval, row[JAW] * (1.0 - 0.5 * row[CLOSED]), row[TUCK], row[CLOSED]], dtype=np.float32)


def _resample(basis: Field, size: int, box: tuple[int, ...], step: int) -> Field:
    """One head basis `[32, 32, 2]` on the coarse grid of the box."""
    x, y, width, height = box
    full = cv2.resize(basis, (size, size), interpolation=cv2.INTER_LINEAR)[y : y + height, x : x + width]
    return np.asarray(cv2.resize(full, (width // step, height // step), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _at(head: Field, size: int, x: float, y: float) -> Field:
    """Head basis `[3, 2]` at one place."""
    column, row = (int(np.clip(v * SWAY_NODES / size, 0, SWAY_NODES - 1)) for v in (x, y))
    return head[:, row, column]


def _distance_table(unit: float) -> Field:
    """Cover for each coded distance before clipping to 0..1: a soft edge LIP_SOFTNESS pixels wide."""
    distance = (np.arange(256, dtype=np.float32) - 128.0) / EDGE_CODE
    return np.asarray(distance * (unit / LIP_SOFTNESS) + 0.5, dtype=np.float32)


def _shadow_table() -> Field:
    """Light inside the mouth, per channel, by the distance under the upper lip's edge; light that reaches in deep is warm."""
    below = np.clip((128.0 - np.arange(256, dtype=np.float32)) / (0.26 * EDGE_CODE), 0.0, 1.0)[:, None]
    dark = np.array([0.80, 0.70, 0.66], dtype=np.float32)
    return np.asarray(dark + (1.0 - dark) * below**0.7, dtype=np.float32)[:, None, :]


def _premultiplied(layer: NDArray[np.uint8]) -> Field:
    color, cover = layer[..., :3].astype(np.float32), layer[..., 3:].astype(np.float32) / np.float32(255.0)
    return np.dstack([color * cover, cover]).astype(np.float32)


def _over(back: Field, front: Field, shown: np.float32) -> Field:
    """`front` over `back`, fading with `shown`: teeth recede behind lips that are pushed forward."""
    composed: Field = back * (1.0 - shown * front[..., 3:]) + shown * front[..., :3]
    return composed
