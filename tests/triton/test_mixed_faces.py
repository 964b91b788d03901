"""Sessions with differently tinted faces, batched together by the real server: each gets its own,
frame for frame.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.mixed_faces import TINTS, mix, shows
from orchestrator.core.types import RgbImage

FRAMES = 1_000
"""Enough to be batched hundreds of times; `python -m benchmarks.mixed_faces` draws ten thousand."""


async def test_no_frame_of_a_shared_batch_shows_the_other_face(tmp_path: Path) -> None:
    mixing = await mix(FRAMES, tmp_path)
    assert mixing.frames >= FRAMES
    assert mixing.by_triton == mixing.frames
    assert mixing.executions < mixing.requests
    assert mixing.mixed == 0


def test_a_mouth_of_the_other_tint_is_noticed() -> None:
    red: RgbImage = np.zeros((128, 128, 3), np.uint8)
    red[..., 0] = 200
    assert shows(red, "red")
    assert not any(shows(red, face) for face in TINTS if face != "red")
    red[64:116, 38:90] = (0, 0, 200)
    assert not shows(red, "red")
