"""The built-in model: audio to mouth parameters, then a thin-plate-spline warp of the face photo."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.inference import NotCached, Tensors
from orchestrator.models.base import AudioWindow, FeatureWindows, Frames, Infer, Licences, ModelSpec, ModelState
from orchestrator.motion import CLOSED, MOTION_PARAMETERS, MOUTH_PARAMETERS, OPEN, aperture
from orchestrator.rendering.build import build_face_maps
from orchestrator.rendering.face_maps import FaceMaps
from orchestrator.rendering.idle import idle_motion
from orchestrator.types import FaceModel, LipSyncModel, MelSpec

WINDOW_FRAMES: Final = 88
WINDOW_STEPS: Final = 16
"""The network answers 16 steps of 10 ms for a window: enough for the steps around two neighbouring frame centres."""

STEPS: Final = 8
"""Steps that one frame centre needs."""

CENTRE_STEP: Final = 3
"""The output step that lies on the mel frame at the video frame's centre."""
LOOK_AHEAD_FRAMES: Final = 6
"""Mel frames that the network sees after an output step."""


SMOOTHING_STEPS: Final = 2.5
CLOSURE_REACH_STEPS: Final = 1.0
CONTACT: Final = 0.08
"""The network hedges: where a closure is short it predicts a small gap, where none is a small closure. Below this both count
as none. With the three values closures seen in decoded video rise from 0.70 to 0.92 of all, at no loss of correlation
(`python -m benchmarks.lip_sync_accuracy`, held-out voices)."""


@dataclass(frozen=True, slots=True, eq=False)
class TpsmFace:
    """Face maps with their serialised form and hash, made once per face and size."""

    maps: FaceMaps
    blob: NDArray[np.uint8]
    digest: NDArray[np.uint8]
    seed: int

    @property
    def nbytes(self) -> int:
        """The blob and its unpacked arrays are of the same order."""
        return 2 * int(self.blob.nbytes)


@lru_cache(maxsize=4)
def prepare_face(face: FaceModel, size: int) -> TpsmFace:
    """Solve the splines of one face; see `orchestrator.rendering.build`. `tpsm` and `static` ask one after the other."""
    maps = build_face_maps(face.neutral_pose, face.landmarks(), size)
    blob = maps.to_bytes()
    return TpsmFace(
        maps=maps,
        blob=np.frombuffer(blob, dtype=np.uint8),
        digest=np.frombuffer(maps.digest, dtype=np.uint8),
        seed=zlib.crc32(f"{face.user_id}/{face.id}".encode()),
    )


def at_frame_centres(steps: NDArray[np.float32], phase: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mouth parameters `[n, 7]` at the frame centres from 100 Hz steps `[n, 8, 7]`.

    A triangle of +-25 ms around the centre smooths the steps. `closed` keeps its maximum over +-10 ms instead, so that a
    short closure is not smoothed away, and gaps that are nearly none become none.
    """
    distance = np.abs(np.arange(STEPS, dtype=np.float32)[None, :] - CENTRE_STEP - phase[:, None])
    weights = np.maximum(0.0, 1.0 - distance / SMOOTHING_STEPS)
    weights /= weights.sum(axis=1, keepdims=True)
    mouth: NDArray[np.float32] = np.einsum("ns,nsp->np", weights, steps).astype(np.float32)
    nearest = np.where(distance <= CLOSURE_REACH_STEPS, steps[:, :, CLOSED], 0.0).max(axis=1)
    mouth[:, CLOSED] = (nearest - CONTACT) / (1.0 - CONTACT)
    mouth = np.clip(mouth, 0.0, 1.0)
    gap = np.maximum(0.0, (aperture(mouth) - CONTACT) / (1.0 - CONTACT))
    mouth[:, OPEN] = gap / np.maximum(1.0 - mouth[:, CLOSED], CONTACT)
    return np.clip(mouth, 0.0, 1.0)


MEL: Final = MelSpec()


class Tpsm:
    """Mouth parameters from 0.88 s of log-mel, drawn by a warp of the photo; two networks, no state."""

    spec = ModelSpec(
        model=LipSyncModel.TPSM,
        triton_models=("audio2motion", "tpsm"),
        features=MEL,
        window=AudioWindow(frames=WINDOW_FRAMES, ahead_frames=STEPS - 1 - CENTRE_STEP + LOOK_AHEAD_FRAMES),
        quality=0.7,
        min_size=128,
        licences=Licences(code="ours", weights="ours", commercial=True),
        stateless=True,
    )

    def prepare(self, face: FaceModel, size: int) -> TpsmFace:
        """Face maps of the photo at `size`."""
        return prepare_face(face, size)

    async def generate(self, infer: Infer, windows: FeatureWindows, face: TpsmFace, state: ModelState) -> tuple[Frames, ModelState]:
        """Silent windows rest without asking the audio network."""
        return await self.draw(infer, await self.motion(infer, windows, face.seed), face), state

    async def motion(self, infer: Infer, windows: FeatureWindows, seed: int) -> NDArray[np.float32]:
        """What the face does: `[n, 11]`, rows of MOTION_PARAMETERS; `seed` is the face's own."""
        mouth = np.zeros((len(windows), len(MOUTH_PARAMETERS)), dtype=np.float32)
        speaking = ~windows.silent
        if speaking.any():
            mouth[speaking] = await _mouths(infer, windows.rows[speaking], windows.slot[speaking], windows.phase[speaking])
        return np.concatenate([mouth, idle_motion(windows.idle_s, seed)], axis=1)

    async def draw(self, infer: Infer, motion: NDArray[np.float32], face: TpsmFace) -> Frames:
        """A picture for each row of motion.

        Each instance of the renderer has its own cache of faces, and nobody can say which instance answers next.

        After "unknown face" two rows travel with the maps, one by one: with instances that take turns, a single one would
        always reach the other one. Every upload draws a row, so this ends.
        """
        drawn: list[Frames] = []
        while len(motion):
            try:
                drawn.append((await infer("tpsm", {"motion": motion, "face": _rows(face.digest, len(motion))}))["frames"])
                break
            except NotCached:
                for row in (motion[:1], motion[1:2] if len(motion) > 1 else motion[:1]):
                    taught = await infer("tpsm", {"motion": row, "face": face.digest[None], "maps": face.blob[None]})
                    drawn.append(taught["frames"])
                if len(motion) == 1:
                    drawn.pop()
                motion = motion[2:]
        return drawn[0] if len(drawn) == 1 else np.concatenate(drawn)

    def canary(self) -> dict[str, Tensors]:
        """Silence for the network, the built-in test card for the renderer."""
        return {
            "audio2motion": {"mel": np.zeros((1, WINDOW_FRAMES, MEL.n_mels), np.float32)},
            "tpsm": {"motion": np.zeros((1, len(MOTION_PARAMETERS)), np.float32), "face": np.zeros((1, 32), np.uint8)},
        }


async def _mouths(infer: Infer, mel: NDArray[np.float32], slot: NDArray[np.int64], phase: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mouths of frames; a frame whose steps the next frame's window holds as well does not send its own."""
    asked = [row for row in range(len(slot)) if not _is_covered(slot, row)]
    answered = (await infer("audio2motion", {"mel": mel[asked]}))["motion"]
    steps = np.empty((len(slot), STEPS, len(MOUTH_PARAMETERS)), np.float32)
    for row in range(len(slot)):
        window = next(index for index, other in enumerate(asked) if other >= row)
        first = WINDOW_STEPS - STEPS - int(slot[asked[window]] - slot[row])
        steps[row] = answered[window, first : first + STEPS]
    return at_frame_centres(steps, phase)


def _is_covered(slot: NDArray[np.int64], row: int) -> bool:
    """Frames pair up from the last one backwards: every second one rides in its successor's window."""
    partner = row + 1
    rides = (len(slot) - 1 - row) % 2 == 1
    return rides and 0 <= int(slot[partner] - slot[row]) <= WINDOW_STEPS - STEPS


def _rows(digest: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    return np.broadcast_to(digest, (count, len(digest)))
