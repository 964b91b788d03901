"""The 68 iBUG points of a face from its MediaPipe mesh, for SadTalker's cuts and alignment."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

IBUG_POINTS: Final = (
    # jaw, from the image's left
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
    168, 197, 5, 4, 75, 97, 2, 326, 305,  # nose: its bridge down to the tip, then below it
    # eyes, each clockwise from its left corner
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    # outer lips, clockwise from the left corner
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 82, 13, 312, 308, 317, 14, 87,  # inner lips
)  # fmt: skip
"""Mesh indices in iBUG's order, numbered from 0.

The vertices of MediaPipe's canonical face model (face_geometry/data,
canonical_face_model_uv_visualization.png) at the places of iBUG's annotation (Sagonas et al.,
300-W, figure 1). SadTalker reads the eyes (36..47), the tip of the nose (30) and the corners of the
mouth (48, 54), which both schemes define alike.
"""


def ibug_points(mesh: NDArray[np.float32]) -> NDArray[np.float32]:
    """`[68, 2]` of a mesh `[468 or 478, 2]`, in its pixels."""
    return mesh[list(IBUG_POINTS)]
