"""What the neural thin-plate-spline model does outside its networks: picture sizes, and motion carried from face to face.

The steps and their order are those of the upstream demo (yoyo-nb/Thin-Plate-Spline-Motion-Model, `demo.py`). Pictures are RGB;
key points are `[..., 50, 2]`, (x, y) in -1..1.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PICTURE_SIZE: Final = 256
"""Side of the square pictures that the networks of config vox-256 see, in pixels."""


def resize_picture(picture: NDArray[np.uint8], size: int = PICTURE_SIZE) -> NDArray[np.float32]:
    """`[H, W, 3]` (more channels are cut off) -> `[size, size, 3]`, 0..1.

    As scikit-image's `resize` does it: where the picture shrinks, a Gaussian of (factor - 1) / 2 pixels per axis against
    aliasing, then bilinear values between pixel centres, mirrored at the border; in float64.
    """
    from scipy import ndimage  # the exporter's alone: sessions have their pictures from OpenCV

    values = picture[..., :3].astype(np.float64) / 255.0
    factors = np.array([values.shape[0] / size, values.shape[1] / size, 1.0])
    if (factors > 1).any():
        values = ndimage.gaussian_filter(values, np.maximum(0.0, (factors - 1) / 2), mode="mirror")
    resized: NDArray[np.float64] = ndimage.zoom(values, 1 / factors, order=1, mode="mirror", grid_mode=True)
    return resized.astype(np.float32)


def quantise_picture(picture: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """0..1 -> 0..255, rounded to the nearest level (halves to even)."""
    levels: NDArray[np.floating[Any]] = np.rint(np.clip(picture, 0, 1) * 255)
    return levels.astype(np.uint8)


def hull_area(points: NDArray[np.floating[Any]]) -> float:
    """Area inside the convex hull of `[N, 2]`; in two dimensions scipy calls it the volume.

    Raises `ValueError` where all points lie on one line.
    """
    from scipy.spatial import ConvexHull, QhullError  # a tenth of a second, once a face

    try:
        return float(ConvexHull(points).volume)
    except QhullError as error:
        raise ValueError("the key points lie on one line") from error


def motion_scale(source: NDArray[np.floating[Any]], initial: NDArray[np.floating[Any]]) -> float:
    """How much larger the source face is than the first driving face, both `[50, 2]`: the ratio of their hulls' sides."""
    return float(np.sqrt(hull_area(source)) / np.sqrt(hull_area(initial)))


def relative_points(
    source: NDArray[np.float32], driving: NDArray[np.float32], initial: NDArray[np.float32], scale: float
) -> NDArray[np.float32]:
    """The source's points moved as the driving face moved since its first picture, all `[..., 50, 2]`."""
    moved: NDArray[np.float32] = source + np.float32(scale) * (driving - initial)
    return moved
