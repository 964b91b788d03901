"""Solve the face maps of one photo from its landmarks, once per face and size."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import RgbImage
from orchestrator.rendering.face_maps import (
    COARSE_NODES,
    EDGE_CODE,
    SIZES,
    SWAY_NODES,
    FaceMaps,
    edge_box,
)
from orchestrator.rendering.inner_mouth import inner_mouth
from orchestrator.rendering.landmarks import FACE_OVAL, Frame, Points, checked, pick
from orchestrator.rendering.lids import lash_color, lids
from orchestrator.rendering.mouth_fields import common_fields, layer_fields, round_shrink
from orchestrator.rendering.mouth_shape import (
    MouthShape,
    curve,
    inner_corners,
    mouth_shape,
    opening_profile,
)

WELL_LIT_SKIN: Final = np.array([226.0, 180.0, 152.0])


def build_face_maps(image: RgbImage, landmarks: NDArray[np.float32], size: int) -> FaceMaps:
    """Maps of `image` `[h, w, 3]` for frames of `size` (128, 256 or 512).

    `landmarks` `[468 or 478, 2]` are in pixels of the image. A photo that is not square is cut to a
    square around the face. ValueError when the landmarks form no mouth.
    """
    if size not in SIZES:
        raise ValueError(f"size: {size}, expected one of {SIZES}")
    if (
        image.ndim != 3
        or image.shape[2] != 3
        or image.dtype != np.uint8
        or min(image.shape[:2]) < 32
    ):
        raise ValueError(
            f"image: shape {image.shape} of {image.dtype}, expected [h, w, 3] of uint8, "
            "at least 32 pixels a side"
        )
    points = checked(landmarks, image.shape[1], image.shape[0])
    photo, points = _square(image, points, size * 3 // 2)
    in_frame = (points + 0.5) / 1.5 - 0.5
    small = np.asarray(
        cv2.resize(photo, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )
    shape = mouth_shape(in_frame, small)
    mouth_box = _mouth_box(shape, size)
    common, layers = _displacements(shape, mouth_box, size)
    cavity_box = _cavity_box(shape, mouth_box)
    inner = inner_mouth(
        shape, _local(shape.frame, cavity_box), _cut(small, cavity_box), _light(photo, points)
    )
    right, left = lids(points, photo)
    sway, pivot = _sway(in_frame, size)
    return FaceMaps(
        size=size,
        image=photo,
        mouth_frame=_mouth_numbers(shape),
        mouth_box=np.array(mouth_box, dtype=np.int32),
        common=common,
        layers=layers,
        edges=_edges(shape, edge_box(size, mouth_box)),
        tuck_profile=opening_profile(
            _local(shape.frame, mouth_box, size // COARSE_NODES)[..., 0], shape
        ).astype(np.float32),
        cavity_box=np.array(cavity_box, dtype=np.int32),
        cavity=inner.cavity,
        upper_teeth=inner.upper_teeth,
        lower_jaw=inner.lower_jaw,
        lid_boxes=np.array([right.box, left.box], dtype=np.int32),
        right_lid=right.maps,
        left_lid=left.maps,
        lash=lash_color(photo, points),
        sway=sway,
        pivot=pivot,
    )


def square_around(points: Points, width: int, height: int) -> tuple[int, int, int]:
    """Left, top and side in pixels of the largest square around the face `points`."""
    side = min(height, width)
    center = (points.min(axis=0) + points.max(axis=0)) / 2.0
    return (
        int(np.clip(round(center[0] - side / 2), 0, width - side)),
        int(np.clip(round(center[1] - side / 2), 0, height - side)),
        side,
    )


def frame_points(landmarks: NDArray[np.float32], width: int, height: int, size: int) -> Points:
    """Landmarks of a photo of `width` x `height` in pixels of frames of `size`, `[468, 2]`.

    ValueError as `build_face_maps`.
    """
    points = checked(landmarks, width, height)
    left, top, side = square_around(points, width, height)
    return (points - (left, top) + 0.5) * (size / side) - 0.5


def _square(image: RgbImage, points: Points, side: int) -> tuple[RgbImage, Points]:
    """The largest square around the face, scaled to `side`, and the points in it."""
    left, top, length = square_around(points, image.shape[1], image.shape[0])
    cut = image[top : top + length, left : left + length]
    scaled = cv2.resize(
        cut, (side, side), interpolation=cv2.INTER_AREA if length > side else cv2.INTER_CUBIC
    )
    return np.ascontiguousarray(scaled, dtype=np.uint8), (points - (left, top) + 0.5) * (
        side / length
    ) - 0.5


def _mouth_numbers(shape: MouthShape) -> NDArray[np.float32]:
    frame = shape.frame
    return np.array(
        [*frame.origin, *frame.axis, frame.unit, round_shrink(shape), shape.scale], dtype=np.float32
    )


def _mouth_box(shape: MouthShape, size: int) -> tuple[int, int, int, int]:
    """Box from the cheeks to below the chin, cut at the image's border, on the coarse grid."""
    step = size // COARSE_NODES
    bottom = float(shape.chin[:, 1].max()) + 1.3
    corners = shape.frame.to_pixels(
        np.array([[-2.5, -1.5], [2.5, -1.5], [-2.5, bottom], [2.5, bottom]])
    )
    low = np.clip(corners.min(axis=0), 0, size - 8 * step).astype(int) // step * step
    high = np.clip(-(-np.ceil(corners.max(axis=0)) // step) * step, low + 8 * step, size).astype(
        int
    )
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def _cavity_box(
    shape: MouthShape, mouth_box: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    top = float(shape.seam[:, 1].min()) - 0.35
    bottom = float(shape.seam[:, 1].max()) + 1.15 * shape.scale
    corners = shape.frame.to_pixels(
        np.array([[-1.25, top], [1.25, top], [-1.25, bottom], [1.25, bottom]])
    )
    x, y, width, height = mouth_box
    low = np.clip(np.floor(corners.min(axis=0)), (x, y), (x + width - 4, y + height - 4)).astype(
        int
    )
    high = np.clip(np.ceil(corners.max(axis=0)), low + 4, (x + width, y + height)).astype(int)
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


def _displacements(
    shape: MouthShape, box: tuple[int, int, int, int], size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Common `[2, h, w, 2]` and layer `[6, h, w, 4]` fields on the box's grid, in coarse steps."""
    step = size // COARSE_NODES
    local = _local(shape.frame, box, step)
    height, width = local.shape[:2]
    at = local.reshape(-1, 2)
    window = _window(shape, at)[None, :, None]
    common = common_fields(shape, at) * window
    layers = layer_fields(shape, at) * window
    common = shape.frame.turn(common) / step
    layers = (
        np.concatenate(
            [shape.frame.turn(layers[..., :2]), shape.frame.turn(layers[..., 2:])], axis=-1
        )
        / step
    )
    return common.reshape(-1, height, width, 2).astype(np.float32), layers.reshape(
        -1, height, width, 4
    ).astype(np.float32)


def _window(shape: MouthShape, at: Points) -> NDArray[np.float64]:
    """Window that fades to zero towards the box's border, wherever in the image that lies."""
    bottom = float(shape.chin[:, 1].max()) + 1.25
    across = np.clip((2.45 - np.abs(at[:, 0])) / 0.6, 0.0, 1.0)
    down = np.clip((at[:, 1] + 1.45) / 0.5, 0.0, 1.0) * np.clip((bottom - at[:, 1]) / 0.5, 0.0, 1.0)
    fade = across * down
    window: NDArray[np.float64] = fade * fade * (3.0 - 2.0 * fade)
    return window


def _edges(shape: MouthShape, box: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Coded distances `[h, w, 2]` above the upper lip's edge and below the lower lip's.

    For image pixels of the box.
    """
    x0, y0, width, height = box
    rows, columns = np.mgrid[y0 : y0 + height, x0 : x0 + width]
    local = shape.frame.to_local((np.stack([columns, rows], axis=-1) + 0.5) / 1.5 - 0.5)
    left, right = inner_corners(shape)
    reach = np.abs(local[..., 0] - (left + right) / 2.0) / ((right - left) / 2.0)
    above = _distance(shape.upper_inner, local, -1.0)
    below = (
        _distance(shape.lower_inner, local, 1.0) + np.clip((reach - 0.965) / 0.04, 0.0, 1.0) * 0.32
    )
    return np.asarray(
        np.clip(np.rint(np.stack([above, below], axis=-1) * EDGE_CODE + 128.0), 0, 255),
        dtype=np.uint8,
    )


def _distance(lip: Points, local: Points, sign: float) -> NDArray[np.float64]:
    edge = curve(lip)
    slope = edge.slope(local[..., 0])
    distance: NDArray[np.float64] = (
        sign * (local[..., 1] - edge(local[..., 0])) / np.sqrt(1.0 + slope**2)
    )
    return distance


def _local(frame: Frame, box: tuple[int, int, int, int], step: int = 1) -> Points:
    """Mouth coordinates of every `step`-th pixel cell's centre in the box."""
    x0, y0, width, height = box
    rows, columns = np.mgrid[0 : height // step, 0 : width // step]
    centers = (np.stack([columns, rows], axis=-1) + 0.5) * step - 0.5
    return frame.to_local(centers + np.array([x0, y0]))


def _cut(picture: RgbImage, box: tuple[int, int, int, int]) -> RgbImage:
    x, y, width, height = box
    return picture[y : y + height, x : x + width]


def _light(photo: RgbImage, points: Points) -> NDArray[np.float64]:
    """Light on the face `[3]`, about 1: the cheeks' colour over that of well lit skin.

    Damped, since skin differs more than light.
    """
    cheeks = np.clip(np.rint(points[[50, 280, 205, 425]]), 0, photo.shape[0] - 1).astype(int)
    skin = photo[cheeks[:, 1], cheeks[:, 0]].astype(np.float64).mean(axis=0)
    ratio = np.maximum(skin, 1.0) / WELL_LIT_SKIN
    light: NDArray[np.float64] = np.clip(
        np.sqrt(ratio.mean()) * (ratio / ratio.mean()) ** 0.35, 0.3, 1.1
    )
    return light


def _sway(points: Points, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Shares of shift and roll `[2, 32, 32]` of the sway.

    The head moves as one, nearer parts a little more, the image's border not at all.
    """
    oval = pick(points, FACE_OVAL)
    low, high = oval.min(axis=0), oval.max(axis=0)
    center, half = (low + high) / 2.0, np.maximum((high - low) / 2.0, 1.0)
    nodes = (np.arange(SWAY_NODES) + 0.5) * size / SWAY_NODES - 0.5
    x, y = np.meshgrid(nodes, nodes)
    reach = np.hypot((x - center[0]) / half[0], (y - center[1]) / half[1])
    border = np.minimum(np.minimum(x, size - 1 - x), np.minimum(y, size - 1 - y)) / (0.18 * size)
    below = np.clip((center[1] + 1.9 * half[1] - y) / (0.8 * half[1]), 0.0, 1.0)
    head = np.clip((2.3 - reach) / 1.1, 0.0, 1.0)
    fade = _smooth(np.minimum(np.clip(border, 0.0, 1.0), head)) * _smooth(below)
    depth = 0.8 + 0.35 * np.sqrt(np.clip(1.0 - reach**2, 0.0, 1.0))
    pivot = np.array([center[0], center[1] + 1.3 * half[1]], dtype=np.float32)
    return np.stack([fade * depth, fade]).astype(np.float32), pivot


def _smooth(value: NDArray[np.float64]) -> NDArray[np.float64]:
    ramp: NDArray[np.float64] = value * value * (3.0 - 2.0 * value)
    return ramp
