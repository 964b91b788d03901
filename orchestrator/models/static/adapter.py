"""Last fallback: the enrolled face at rest, blinking, rendered in this process without Triton."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.executors import in_frame_thread
from orchestrator.core.types import FaceModel, LipSyncModel, MelSpec, RgbImage
from orchestrator.inference import Tensors
from orchestrator.models.base import (
    AudioWindow,
    FeatureWindows,
    Frames,
    Infer,
    Licences,
    ModelSpec,
    ModelState,
)
from orchestrator.models.tpsm.adapter import (
    FACE_MAPS,
    TpsmFace,
    prepare_face,
    solve_face,
    solved_face,
)
from orchestrator.rendering.build_face_maps import square_around
from orchestrator.rendering.face_renderer import FaceRenderer
from orchestrator.rendering.idle import idle_motion
from orchestrator.rendering.landmarks import UNUSABLE_POINTS, checked
from orchestrator.rendering.motion import MOTION_PARAMETERS, MOUTH_PARAMETERS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class StaticFace:
    """A renderer over the same maps as `tpsm`'s, so that the face does not jump in a fallback."""

    face: TpsmFace
    renderer: FaceRenderer

    @property
    def size(self) -> int:
        """Side of its images in pixels."""
        return self.face.maps.size

    @property
    def nbytes(self) -> int:
        """Bytes of the maps it holds."""
        return self.face.nbytes

    def resting(self, idle_s: NDArray[np.float64]) -> Frames:
        """Images `[n, size, size, 3]` at these times of the session; milliseconds each.

        The mouth is at rest, with blinks and sway.
        """
        idle = idle_motion(idle_s, self.face.seed)
        motion = np.concatenate(
            [np.zeros((len(idle), len(MOUTH_PARAMETERS)), np.float32), idle], axis=1
        )
        return np.stack([self.renderer.draw(row) for row in motion])

    def at_rest(self) -> RgbImage:
        """`[size, size, 3]`: the same looking ahead, eyes open."""
        return self.renderer.draw(np.zeros(len(MOTION_PARAMETERS), np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class BarePhoto:
    """A face whose key points form no mouth or no eye: an image that cannot be animated."""

    photo: RgbImage
    """`[size, size, 3]`."""

    @property
    def size(self) -> int:
        """Side of its images in pixels."""
        return len(self.photo)

    @property
    def nbytes(self) -> int:
        """Bytes of the image."""
        return self.photo.nbytes

    def resting(self, idle_s: NDArray[np.float64]) -> Frames:
        """The same image at all times, `[n, size, size, 3]`."""
        return np.repeat(self.photo[None], len(idle_s), axis=0)

    def at_rest(self) -> RgbImage:
        """`[size, size, 3]`."""
        return self.photo


RestingFace: TypeAlias = StaticFace | BarePhoto
"""Resting form of every face that has a photo."""


def prepare_static_face(face: FaceModel, size: int) -> StaticFace:
    """A renderer over the same maps as `tpsm`'s; raises one of UNUSABLE_POINTS as `tpsm` does."""
    maps = prepare_face(face, size)
    return StaticFace(maps, FaceRenderer(maps.maps))


def prepare_resting_face(face: FaceModel, size: int) -> RestingFace:
    """`prepare_static_face`, or else the bare photo; never fails."""
    try:
        return prepare_static_face(face, size)
    except UNUSABLE_POINTS as error:
        logger.warning(
            "face %s of %s is shown as the bare photo, without motion: %s",
            face.id,
            face.user_id,
            error,
        )
        return bare_photo(face, size)


def bare_photo(face: FaceModel, size: int) -> BarePhoto:
    """The square of the photo that a rendered face would show.

    Its middle where the points lie outside it.
    """
    height, width = face.neutral_pose.shape[:2]
    try:
        points = checked(face.landmarks(), width, height)
    except ValueError:
        points = np.array([[0.0, 0.0], [width, height]])
    left, top, side = square_around(points, width, height)
    cut = face.neutral_pose[top : top + side, left : left + side]
    scaled = cv2.resize(
        cut, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_CUBIC
    )
    return BarePhoto(np.asarray(scaled, dtype=np.uint8))


class Static:
    """The resting face with blink and sway, or the bare photo; needs no audio and cannot fail."""

    solution = FACE_MAPS
    spec = ModelSpec(
        model=LipSyncModel.STATIC,
        triton_models=(),
        features=MelSpec(),
        window=AudioWindow(frames=1, ahead_frames=0),
        quality=0.1,
        min_size=0,
        licences=Licences(code="ours", weights="none needed", commercial=True),
    )

    def prepare(self, face: FaceModel, size: int) -> RestingFace:
        """See `prepare_resting_face`."""
        return prepare_resting_face(face, size)

    def solve(self, face: FaceModel, size: int) -> bytes:
        """See `solve_face`."""
        return solve_face(face, size)

    def prepare_solved(self, face: FaceModel, solution: bytes) -> StaticFace:
        """`prepare_static_face` from maps that were solved before."""
        maps = solved_face(face, solution)
        return StaticFace(maps, FaceRenderer(maps.maps))

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: RestingFace, state: ModelState
    ) -> tuple[Frames, ModelState]:
        """Render in a worker thread; `infer` is not used."""
        frames = await in_frame_thread(face.resting, windows.idle_s)
        return frames, state

    def probe_inputs(self) -> dict[str, Tensors]:
        """No requests."""
        return {}
