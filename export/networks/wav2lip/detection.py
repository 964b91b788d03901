"""Face boxes from S3FD's raw outputs: priors, decoding, thresholds, suppression.

Source: 1adrianb/face-alignment, `detection/sfd/bbox.py` and `detect.py`, as vendored by
Rudrabha/Wav2Lip.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FIRST_STRIDE: Final = 4
PRIOR_SIZE: Final = 4
"""Side of a prior box, in strides."""
CENTRE_VARIANCE: Final = 0.1
SIZE_VARIANCE: Final = 0.2
CANDIDATE_SCORE: Final = 0.05
FACE_SCORE: Final = 0.5
MAX_OVERLAP: Final = 0.3


def priors(rows: Tensor, columns: Tensor, stride: int) -> Tensor:
    """Prior boxes `[..., 4]` (centre x, centre y, width, height) in pixels of cells of a level."""
    x, y = stride / 2.0 + columns * float(stride), stride / 2.0 + rows * float(stride)
    side = torch.full_like(x, float(PRIOR_SIZE * stride))
    return torch.stack((x, y, side, side), dim=-1)


def decode(offsets: Tensor, prior_boxes: Tensor) -> Tensor:
    """Corners `[..., 4]` (left, top, right, bottom) in pixels.

    From the box head's `offsets [..., 4]`. Float32 in upstream's order of operations, so that the
    results are the same bit for bit.
    """
    centre = prior_boxes[..., :2] + offsets[..., :2] * CENTRE_VARIANCE * prior_boxes[..., 2:]
    size = prior_boxes[..., 2:] * torch.exp(offsets[..., 2:] * SIZE_VARIANCE)
    corner = centre - size / 2
    return torch.cat((corner, size + corner), dim=-1)


def suppress(candidates: NDArray[Any]) -> list[int]:
    """Indices of `candidates [n, 5]` (box, score) that stay, best first.

    None overlaps a better one by more than `MAX_OVERLAP`.
    """
    left, top, right, bottom, score = candidates.T
    areas = (right - left + 1) * (bottom - top + 1)
    order, kept = score.argsort()[::-1], []
    while order.size:
        best, others = order[0], order[1:]
        kept.append(int(best))
        width = np.minimum(right[best], right[others]) - np.maximum(left[best], left[others]) + 1
        height = np.minimum(bottom[best], bottom[others]) - np.maximum(top[best], top[others]) + 1
        shared = np.maximum(0.0, width) * np.maximum(0.0, height)
        order = others[shared / (areas[best] + areas[others] - shared) <= MAX_OVERLAP]
    return kept


def candidates(levels: Sequence[tuple[Tensor, Tensor]]) -> NDArray[np.float32]:
    """Boxes with scores `[n, 5]` of one image's raw levels, above `CANDIDATE_SCORE`.

    Batch of 1.
    """
    found = []
    for level, (classes, offsets) in enumerate(levels):
        scores = torch.softmax(classes[0], dim=0)[1]
        rows, columns = torch.nonzero(scores > CANDIDATE_SCORE, as_tuple=True)
        boxes = decode(offsets[0, :, rows, columns].T, priors(rows, columns, FIRST_STRIDE << level))
        found.append(torch.cat((boxes, scores[rows, columns, None]), dim=1))
    return np.asarray(torch.cat(found).numpy(), np.float32)


def faces(levels: Sequence[tuple[Tensor, Tensor]]) -> NDArray[np.int64]:
    """Face boxes `[n, 4]` (left, top, right, bottom) in whole pixels, best first.

    The first is the one upstream takes.
    """
    boxes = candidates(levels)
    boxes = boxes[suppress(boxes)]
    clipped = np.clip(boxes[boxes[:, 4] > FACE_SCORE, :4], 0, None)
    return clipped.astype(np.int64)
