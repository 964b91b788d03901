"""CPU time of rendering a face on one thread: its maps once, and each frame.

    python -m benchmarks.render_cost

Prints a row per size: ms to build the maps, their size in KB, and ms per frame at rest, in speech,
and in speech with a blink.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Final

import cv2
import numpy as np

from benchmarks.contact_sheet import motion_row
from benchmarks.shared import command_line
from benchmarks.speaking_faces import drawn_portrait
from orchestrator.rendering.build_face_maps import build_face_maps
from orchestrator.rendering.face_renderer import FaceRenderer
from orchestrator.rendering.motion import VISEMES

SIZES: Final = (128, 256, 512)
ROUNDS: Final = 15
SWAY: Final = {"sway_x": 0.004, "sway_y": 0.002, "roll": 0.01}
KINDS: Final = {
    "rest": motion_row(VISEMES["sil"], **SWAY),
    "speech": motion_row(VISEMES["aa"], **SWAY),
    "speech + blink": motion_row(VISEMES["FF"], blink=0.6, **SWAY),
}


def main() -> None:
    """Print the table; times are CPU milliseconds, the median of `ROUNDS` rounds."""
    command_line("render_cost", __doc__).parse_args()
    cv2.setNumThreads(1)
    face = drawn_portrait()
    print(f"{'size':>5} {'build':>8} {'maps KB':>8} " + " ".join(f"{kind:>15}" for kind in KINDS))
    for size in SIZES:
        build = cpu_ms(partial(build_face_maps, face.neutral_pose, face.landmarks(), size), 1)
        maps = build_face_maps(face.neutral_pose, face.landmarks(), size)
        renderer = FaceRenderer(maps)
        draws = [cpu_ms(partial(renderer.draw, row), 60) for row in KINDS.values()]
        print(
            f"{size:>5} {build:>8.1f} {len(maps.to_bytes()) / 1000:>8.0f} "
            + " ".join(f"{draw:>15.2f}" for draw in draws)
        )


def cpu_ms(work: Callable[[], object], repeats: int) -> float:
    """CPU milliseconds of one call of `work`: median of `ROUNDS` rounds of `repeats` calls."""
    work()
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(repeats):
            work()
        rounds.append((time.process_time() - start) / repeats)
    return float(np.median(rounds) * 1e3)


if __name__ == "__main__":
    main()
