"""Mouth and head parameters between the audio network and the renderer, and their visemes."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

MOUTH_PARAMETERS: Final = ("jaw", "open", "wide", "round", "closed", "tuck", "teeth")
"""Outputs of `audio2motion`, each 0..1.

Jaw lowered, gap between the lips, corners spread, lips rounded and protruded, lips pressed
together, lower lip tucked under the upper teeth, teeth shown close together.
"""

HEAD_PARAMETERS: Final = ("blink", "sway_x", "sway_y", "roll")
"""Motion of an idle face, independent of the voice.

Lids closed 0..1, shift as a fraction of the image's side, roll in radians.
"""

MOTION_PARAMETERS: Final = MOUTH_PARAMETERS + HEAD_PARAMETERS
"""One row of the `tpsm` renderer's `motion` input, in this order."""

JAW, OPEN, WIDE, ROUND, CLOSED, TUCK, TEETH = range(len(MOUTH_PARAMETERS))
BLINK, SWAY_X, SWAY_Y, ROLL = range(len(MOUTH_PARAMETERS), len(MOTION_PARAMETERS))

VISEMES: Final[dict[str, tuple[float, ...]]] = {
    #       jaw   open  wide  round closed tuck teeth
    "sil": (0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),
    "PP": (0.05, 0.00, 0.00, 0.05, 1.00, 0.00, 0.00),
    "FF": (0.12, 0.10, 0.10, 0.00, 0.00, 1.00, 0.30),
    "TH": (0.20, 0.24, 0.20, 0.00, 0.00, 0.00, 0.60),
    "DD": (0.20, 0.24, 0.25, 0.00, 0.00, 0.00, 0.70),
    "kk": (0.25, 0.28, 0.20, 0.00, 0.00, 0.00, 0.40),
    "CH": (0.18, 0.26, 0.00, 0.55, 0.00, 0.00, 0.90),
    "SS": (0.12, 0.20, 0.45, 0.00, 0.00, 0.00, 1.00),
    "nn": (0.20, 0.24, 0.20, 0.00, 0.00, 0.00, 0.50),
    "RR": (0.22, 0.27, 0.00, 0.45, 0.00, 0.00, 0.40),
    "aa": (0.90, 0.95, 0.25, 0.00, 0.00, 0.00, 0.20),
    "E": (0.50, 0.56, 0.50, 0.00, 0.00, 0.00, 0.40),
    "ih": (0.30, 0.36, 0.60, 0.00, 0.00, 0.00, 0.50),
    "oh": (0.60, 0.62, 0.00, 0.70, 0.00, 0.00, 0.10),
    "ou": (0.30, 0.32, 0.00, 1.00, 0.00, 0.00, 0.00),
}
"""The fifteen visemes as mouth parameters.

Names follow the viseme set of the MPEG-4 / Oculus convention.
"""


def aperture(mouth: NDArray[np.float32]) -> NDArray[np.float32]:
    """The visible gap between the lips, 0..1.

    Of mouth parameters `[..., 7]` or motion rows `[..., 11]`.
    """
    gap: NDArray[np.float32] = mouth[..., OPEN] * (1.0 - mouth[..., CLOSED])
    return gap
