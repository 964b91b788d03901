"""The built-in model: audio to mouth parameters, then a thin-plate-spline warp of the photo."""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import FaceModel, LipSyncModel, MelSpec
from orchestrator.inference import NotCached, NotServed, Tensors
from orchestrator.models.base import (
    AudioWindow,
    FaceSolution,
    FeatureWindows,
    Frames,
    Infer,
    Licences,
    ModelSpec,
    ModelState,
)
from orchestrator.rendering.build_face_maps import build_face_maps
from orchestrator.rendering.code_version import code_version
from orchestrator.rendering.face_maps import MAX_BYTES, FaceMaps
from orchestrator.rendering.frame_centres import mouths_at
from orchestrator.rendering.idle import idle_motion
from orchestrator.rendering.motion import MOTION_PARAMETERS, MOUTH_PARAMETERS

WINDOW_FRAMES: Final = 88
WINDOW_STEPS: Final = 16
"""Steps of 10 ms that the network returns for a window.

Enough for the steps around two or three neighbouring frame centres.
"""

CENTRE_STEPS: Final = 8
"""Steps that one frame centre needs."""

CENTRE_STEP: Final = 3
"""Output step at the mel frame of the video frame's centre."""
LOOK_AHEAD_FRAMES: Final = 6
"""Mel frames after an output step that the network uses."""

SPEECH_ENSEMBLE: Final = "tpsm_speech"
"""Ensemble of both networks: one request for a chunk instead of two."""


@dataclass(frozen=True, slots=True, eq=False)
class TpsmFace:
    """Face maps with their serialised form and hash, made once per face and size."""

    maps: FaceMaps
    blob: NDArray[np.uint8]
    digest: NDArray[np.uint8]
    seed: int

    @property
    def nbytes(self) -> int:
        """Twice the blob, as its unpacked arrays are of the same order."""
        return 2 * int(self.blob.nbytes)


@lru_cache(maxsize=4)
def prepare_face(face: FaceModel, size: int) -> TpsmFace:
    """Solve the splines of one face; see `orchestrator.rendering.build_face_maps`.

    Cached, since `tpsm` and `static` request the same face one after the other.
    """
    return solved_face(face, solve_face(face, size))


def solve_face(face: FaceModel, size: int) -> bytes:
    """`FaceMaps.to_bytes` of one face. Raises one of UNUSABLE_POINTS."""
    return build_face_maps(face.neutral_pose, face.landmarks(), size).to_bytes()


def solved_face(face: FaceModel, solution: bytes) -> TpsmFace:
    """The face with maps that were solved before; ValueError where the bytes are not face maps."""
    return TpsmFace(
        maps=FaceMaps.from_bytes(solution),
        blob=np.frombuffer(solution, dtype=np.uint8),
        digest=np.frombuffer(hashlib.sha256(solution).digest(), dtype=np.uint8),
        seed=zlib.crc32(f"{face.user_id}/{face.id}".encode()),
    )


def _check_solution(solution: bytes, size: int) -> None:
    maps = FaceMaps.from_bytes(solution)
    if maps.size != size:
        raise ValueError(f"face maps: for {maps.size} pixels, not {size}")


FACE_MAPS: Final = FaceSolution("face-maps", code_version(), _check_solution, MAX_BYTES)
"""Solution that `tpsm` and `static` share."""


MEL: Final = MelSpec()


class Tpsm:
    """Mouth parameters from 0.88 s of log-mel, rendered by a warp of the photo.

    Two networks, no state.
    """

    solution = FACE_MAPS
    spec = ModelSpec(
        model=LipSyncModel.TPSM,
        triton_models=("audio2motion", "tpsm"),
        ensembles=(SPEECH_ENSEMBLE,),
        features=MEL,
        window=AudioWindow(
            frames=WINDOW_FRAMES, ahead_frames=CENTRE_STEPS - 1 - CENTRE_STEP + LOOK_AHEAD_FRAMES
        ),
        quality=0.7,
        min_size=128,
        licences=Licences(code="ours", weights="ours", commercial=True),
        stateless=True,
    )

    def prepare(self, face: FaceModel, size: int) -> TpsmFace:
        """Face maps of the photo at `size`."""
        return prepare_face(face, size)

    def solve(self, face: FaceModel, size: int) -> bytes:
        """See `solve_face`."""
        return solve_face(face, size)

    def prepare_solved(self, face: FaceModel, solution: bytes) -> TpsmFace:
        """See `solved_face`."""
        return solved_face(face, solution)

    def introduction(self, face: TpsmFace) -> dict[str, Tensors]:
        """The maps, with one frame at rest that is discarded."""
        motion = np.zeros((1, len(MOTION_PARAMETERS)), np.float32)
        return {"tpsm": {"motion": motion, "face": face.digest[None], "maps": face.blob[None]}}

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: TpsmFace, state: ModelState
    ) -> tuple[Frames, ModelState]:
        """Generate frames; silent windows rest without the audio network."""
        if not windows.silent.any():
            with contextlib.suppress(NotServed, NotCached):
                return await _speech(infer, windows, face), state
        return await self.draw(infer, await self.motion(infer, windows, face.seed), face), state

    async def motion(self, infer: Infer, windows: FeatureWindows, seed: int) -> NDArray[np.float32]:
        """Rows `[n, 11]` of MOTION_PARAMETERS; `seed` is the face's own."""
        mouth = np.zeros((len(windows), len(MOUTH_PARAMETERS)), dtype=np.float32)
        speaking = ~windows.silent
        if speaking.any():
            mouth[speaking] = await _mouths(
                infer, windows.rows[speaking], windows.slot[speaking], windows.phase[speaking]
            )
        return np.concatenate([mouth, idle_motion(windows.idle_s, seed)], axis=1)

    async def draw(self, infer: Infer, motion: NDArray[np.float32], face: TpsmFace) -> Frames:
        """Render an image for each row of motion.

        Servers were sent the maps ahead (`introduction`), and the instances of one share them. An
        instance that has lost them, or cannot share them, answers "unknown face", and the next
        request may reach any instance.

        Then two rows are sent with the maps, one by one: with instances that take turns, a single
        one would always reach the other instance. Every upload also renders a row, so this ends.
        """
        drawn: list[Frames] = []
        while len(motion):
            try:
                drawn.append(
                    (
                        await infer(
                            "tpsm", {"motion": motion, "face": _rows(face.digest, len(motion))}
                        )
                    )["frames"]
                )
                break
            except NotCached:
                for row in (motion[:1], motion[1:2] if len(motion) > 1 else motion[:1]):
                    taught = await infer(
                        "tpsm", {"motion": row, "face": face.digest[None], "maps": face.blob[None]}
                    )
                    drawn.append(taught["frames"])
                if len(motion) == 1:
                    drawn.pop()
                motion = motion[2:]
        return drawn[0] if len(drawn) == 1 else np.concatenate(drawn)

    def probe_inputs(self) -> dict[str, Tensors]:
        """Silence for the network, the built-in test card for the renderer."""
        return {
            "audio2motion": {"mel": np.zeros((1, WINDOW_FRAMES, MEL.n_mels), np.float32)},
            "tpsm": {
                "motion": np.zeros((1, len(MOTION_PARAMETERS)), np.float32),
                "face": np.zeros((1, 32), np.uint8),
            },
        }


async def _speech(infer: Infer, windows: FeatureWindows, face: TpsmFace) -> Frames:
    """A chunk in one request.

    `NotServed` also where its windows hold different numbers of frames.
    """
    window, centre = shared_windows(windows.slot, windows.phase)
    asked, counts = np.unique(window, return_counts=True)
    if counts.min() != counts.max():
        raise NotServed(SPEECH_ENSEMBLE)
    moments = (
        np.column_stack([centre, idle_motion(windows.idle_s, face.seed)])
        .astype(np.float32)
        .reshape(len(asked), counts[0], -1)
    )
    frames = (
        await infer(
            SPEECH_ENSEMBLE,
            {
                "mel": windows.rows[asked],
                "moments": moments,
                "face": _rows(face.digest, len(asked)),
            },
        )
    )["frames"]
    return frames.reshape(len(windows), -1, *frames.shape[2:])


async def _mouths(
    infer: Infer, mel: NDArray[np.float32], slot: NDArray[np.int64], phase: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Mouths of frames.

    A frame whose steps lie in another frame's window does not send its own.
    """
    window, centre = shared_windows(slot, phase)
    asked, answer = np.unique(window, return_inverse=True)
    return mouths_at(centre, (await infer("audio2motion", {"mel": mel[asked]}))["motion"][answer])


def shared_windows(
    slot: NDArray[np.int64], phase: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each frame the frame whose window it shares, and its centre among that window's steps.

    That frame is the same or a later one.
    """
    window = np.arange(len(slot))
    for row in range(len(slot) - 2, -1, -1):
        if 0 <= slot[window[row + 1]] - slot[row] <= WINDOW_STEPS - CENTRE_STEPS:
            window[row] = window[row + 1]
    return window, (
        WINDOW_STEPS - CENTRE_STEPS + CENTRE_STEP - (slot[window] - slot) + phase
    ).astype(np.float32)


def _rows(digest: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    return np.broadcast_to(digest, (count, len(digest)))
