"""CPU cost of rendering one frame: the renderer alone, in this process, with speech-like motion."""

from __future__ import annotations

import time
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.models.tpsm.adapter import prepare_face
from orchestrator.rendering.face_renderer import FaceRenderer
from orchestrator.rendering.idle import idle_motion
from orchestrator.rendering.motion import VISEMES

FPS: Final = 20
FRAMES: Final = 200
"""Ten seconds: several blinks and every viseme."""

ROUNDS: Final = 3
"""The cheapest round counts: other processes disturbed the rest."""

FRAMES_PER_VISEME: Final = 3


async def render_cost_ms(size: int) -> float:
    """CPU milliseconds per frame of the demo face at `size`."""
    face = await FaceModelCacheService(LocalFaceStore(SHIPPED_FACES)).load_face_model(
        DEMO_USER, DEMO_FACE
    )
    cv2.setNumThreads(1)
    renderer = FaceRenderer(prepare_face(face, size).maps)
    rows = _motion()
    return min(_round_ms(renderer, rows) for _ in range(ROUNDS))


def _round_ms(renderer: FaceRenderer, rows: NDArray[np.float32]) -> float:
    began = time.process_time()
    for row in rows:
        renderer.draw(row)
    return 1000.0 * (time.process_time() - began) / len(rows)


def _motion() -> NDArray[np.float32]:
    """Motion rows `[FRAMES, 11]`: interpolated visemes in turn, with blinks and sway."""
    corners = np.array(list(VISEMES.values()), np.float32)
    places = np.arange(FRAMES) / FRAMES_PER_VISEME % len(corners)
    mouth = np.stack(
        [
            np.interp(places, np.arange(len(corners) + 1), np.append(column, column[0]))
            for column in corners.T
        ],
        axis=1,
    )
    idle = idle_motion(np.arange(FRAMES) / FPS, 1)
    motion: NDArray[np.float32] = np.concatenate([mouth, idle], axis=1).astype(np.float32)
    return motion
