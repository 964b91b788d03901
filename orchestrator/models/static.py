"""The last resort: the enrolled face at rest, blinking, drawn in this process without Triton."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.frame_threads import in_frame_thread
from orchestrator.inference import Tensors
from orchestrator.models.base import AudioWindow, FeatureWindows, Frames, Infer, Licences, ModelSpec, ModelState
from orchestrator.models.tpsm import TpsmFace, prepare_face
from orchestrator.motion import MOTION_PARAMETERS, MOUTH_PARAMETERS
from orchestrator.rendering.draw import FaceRenderer
from orchestrator.rendering.idle import idle_motion
from orchestrator.types import FaceModel, LipSyncModel, MelSpec, RgbImage


@dataclass(frozen=True, slots=True, eq=False)
class StaticFace:
    """A renderer of the same maps that `tpsm` draws from, so that a fallback does not make the face jump."""

    face: TpsmFace
    renderer: FaceRenderer

    @property
    def nbytes(self) -> int:
        """Counted like the maps it holds."""
        return self.face.nbytes

    def resting(self, idle_s: NDArray[np.float64]) -> Frames:
        """Pictures `[n, size, size, 3]` at these times of the session: the mouth at rest, blinks and sway; milliseconds each."""
        idle = idle_motion(idle_s, self.face.seed)
        motion = np.concatenate([np.zeros((len(idle), len(MOUTH_PARAMETERS)), np.float32), idle], axis=1)
        return np.stack([self.renderer.draw(row) for row in motion])

    def at_rest(self) -> RgbImage:
        """`[size, size, 3]`: the same looking ahead, eyes open."""
        return self.renderer.draw(np.zeros(len(MOTION_PARAMETERS), np.float32))


def prepare_static_face(face: FaceModel, size: int) -> StaticFace:
    """The same maps as `tpsm`'s and a renderer over them."""
    maps = prepare_face(face, size)
    return StaticFace(maps, FaceRenderer(maps.maps))


class Static:
    """The resting face with blink and sway; needs no audio and cannot fail."""

    spec = ModelSpec(
        model=LipSyncModel.STATIC,
        triton_models=(),
        features=MelSpec(),
        window=AudioWindow(frames=1, ahead_frames=0),
        quality=0.1,
        min_size=0,
        licences=Licences(code="ours", weights="none needed", commercial=True),
    )

    def prepare(self, face: FaceModel, size: int) -> StaticFace:
        """See `prepare_static_face`."""
        return prepare_static_face(face, size)

    async def generate(self, infer: Infer, windows: FeatureWindows, face: StaticFace, state: ModelState) -> tuple[Frames, ModelState]:
        """`infer` is not used; drawing happens in a worker thread."""
        frames = await in_frame_thread(face.resting, windows.idle_s)
        return frames, state

    def canary(self) -> dict[str, Tensors]:
        """Nothing to ask."""
        return {}
