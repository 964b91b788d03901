"""Audio2Head: speech to head pose and key points, 64 frames at a time, drawn by a first-order
motion model; looks 2 s ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.executors import in_frame_thread
from orchestrator.core.types import FaceModel, LipSyncModel
from orchestrator.inference import Tensors
from orchestrator.models.audio2head.chunks import CHUNK_FRAMES
from orchestrator.models.audio2head.face import (
    Audio2HeadFace,
    Audio2HeadPictures,
    pasted,
    prepare_audio2head_pictures,
    with_network_s_view,
)
from orchestrator.models.audio2head.features import ROW_VALUES, ROWS_PER_FRAME
from orchestrator.models.audio2head.motion import KeyPoints, Track, follow, native_frames
from orchestrator.models.audio2head.pose_boxes import SIZE
from orchestrator.models.audio2head.streaming_features import SOUND, WINDOW, sound_around
from orchestrator.models.base import (
    ArraySpec,
    FaceEncoding,
    FeatureWindows,
    Frames,
    Infer,
    Licences,
    ModelSpec,
)

VECTOR: Final = 256
POINTS: Final = 10
FEATURES: Final = (256, 64, 64)
SMALL: Final = (3, 64, 64)

RETURN_S: Final = 0.4
"""From speaking to rest and back, in sound that is silent: the head turns to where the picture has
it, then the picture fades in.
"""

FADE: Final = 0.3
"""Part of `RETURN_S` that the fade takes."""

GAP_S: Final = 0.25
"""After a longer pause between two of our frames other models have drawn, which the service fades
out.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Speaking:
    """Between chunks: what was shown last, and the motion of the turn."""

    idle_s: float
    """Session time of the last frame."""
    presence: float
    """0 where the face rests, 1 where it moves as the network says."""
    shown: KeyPoints | None = None
    track: Track | None = None


class Audio2Head:
    """Head, mouth and lids move as the networks say; silence is the resting face of `static`,
    without asking them.
    """

    spec = ModelSpec(
        model=LipSyncModel.AUDIO2HEAD,
        triton_models=(
            "audio2head_picture",
            "audio2head_embedding",
            "audio2head_pose",
            "audio2head_key_points",
            "audio2head_frame",
        ),
        features=SOUND,
        window=WINDOW,
        quality=0.7,
        min_size=256,
        licences=Licences(code="ours", weights="none stated", commercial=False),
        gpu_memory_mb=2000,
    )
    face_models = ("audio2head_picture",)
    encoding = FaceEncoding(
        {
            "features": ArraySpec("float32", FEATURES),
            "small_picture": ArraySpec("float32", SMALL),
            "key_points": ArraySpec("float32", (POINTS, 2)),
            "jacobians": ArraySpec("float32", (POINTS, 2, 2)),
            "vector": ArraySpec("float32", (VECTOR,)),
            "pose": ArraySpec("float32", (6,)),
        }
    )

    def prepare(self, face: FaceModel, size: int) -> Audio2HeadPictures:
        """The square of the head; FACE_MODEL_INCOMPATIBLE where the landmarks hold no face."""
        try:
            return prepare_audio2head_pictures(face, size)
        except ValueError as error:
            message = (
                f"face model {face.id!r} cannot be used with audio2head: {error}; enrol another "
                "photo"
            )
            raise LipSyncError(
                LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, message, recoverable=False
            ) from error

    async def encode(self, infer: Infer, face: Audio2HeadPictures) -> dict[str, NDArray[Any]]:
        """Source features, key points and where the head pose begins; the same for every size."""
        answer = await infer("audio2head_picture", {"picture": face.source[None]})
        return {name: answer[name][0].copy() for name in self.encoding.arrays}

    def with_encodings(
        self, face: Audio2HeadPictures, encodings: Mapping[str, NDArray[Any]]
    ) -> Audio2HeadFace:
        """See `with_network_s_view`."""
        return with_network_s_view(face, encodings)

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: Audio2HeadFace, state: Speaking | None
    ) -> tuple[Frames, Speaking | None]:
        """Motion frame by frame, so that any chunking gives the same; then all pictures in one
        request.
        """
        moments: list[Speaking] = []
        for index in range(len(windows)):
            state = await _next(infer, windows, index, face, state)
            moments.append(state)
        poses = [_returning(moment, face.rest) for moment in moments]
        moving = [points for points in poses if points is not None]
        patches = (
            await _pictures(infer, face, moving)
            if moving
            else np.empty((0, SIZE, SIZE, 3), np.uint8)
        )
        shares = [min(1.0, moment.presence / FADE) for moment in moments]
        frames = await in_frame_thread(pasted, face.pictures, windows.idle_s, shares, patches)
        return frames, state

    def probe_inputs(self) -> dict[str, Tensors]:
        """Black pictures, no sound, all points in the middle; the jacobians are inverted, so zeros
        would not do.
        """
        vector, memory = np.zeros((1, VECTOR), np.float32), np.zeros((1, 2, VECTOR), np.float32)
        points = np.zeros((1, POINTS, 2), np.float32)
        upright = np.broadcast_to(np.eye(2, dtype=np.float32), (1, POINTS, 2, 2))
        picture = np.zeros((1, SIZE, SIZE, 3), np.uint8)
        block = (ROWS_PER_FRAME, ROW_VALUES)
        return {
            "audio2head_picture": {"picture": picture},
            "audio2head_embedding": {"audio": np.zeros((1, *block), np.float32)},
            "audio2head_pose": {
                "embedding": vector,
                "vector": vector,
                "hidden": memory,
                "cell": memory,
            },
            "audio2head_key_points": {
                "audio": np.zeros((1, CHUNK_FRAMES, *block), np.float32),
                "boxes": np.zeros((1, CHUNK_FRAMES, SIZE, SIZE), np.uint8),
                "picture": picture,
            },
            "audio2head_frame": {
                "features": np.zeros((1, *FEATURES), np.float32),
                "small_picture": np.zeros((1, *SMALL), np.float32),
                "source_key_points": points,
                "source_jacobians": upright,
                "key_points": points,
                "jacobians": upright,
            },
        }


async def _next(
    infer: Infer, windows: FeatureWindows, index: int, face: Audio2HeadFace, before: Speaking | None
) -> Speaking:
    """One frame later. In silence the last motion is held while it gives way to rest, and no
    network is asked for another.
    """
    idle_s, silent = float(windows.idle_s[index]), bool(windows.silent[index])
    presence = _presence(before, idle_s, silent)
    track = before.track if before is not None else None
    if silent:
        return Speaking(
            idle_s, presence, before.shown if before is not None and presence > 0.0 else None, track
        )
    slot = int(windows.slot[index])
    sound = sound_around(windows.rows[index], slot)
    track, shown = await follow(
        infer, face.source, track, sound, native_frames(slot, float(windows.phase[index]))
    )
    return Speaking(idle_s, presence, shown, track)


def _presence(before: Speaking | None, idle_s: float, silent: bool) -> float:
    """Rises and falls at an even pace; a first frame that speaks does so at once, as upstream's
    does.
    """
    if before is None or not 0.0 <= idle_s - before.idle_s <= GAP_S:
        return 0.0 if silent else 1.0
    step = (idle_s - before.idle_s) / RETURN_S
    return max(0.0, before.presence - step) if silent else min(1.0, before.presence + step)


def _returning(moment: Speaking, rest: KeyPoints) -> KeyPoints | None:
    """What is drawn: the motion, on its way from or to rest; None at rest."""
    if moment.shown is None or moment.presence <= 0.0:
        return None
    t = min(1.0, max(0.0, (moment.presence - FADE) / (1.0 - FADE)))
    return moment.shown if t == 1.0 else rest.toward(moment.shown, t * t * (3.0 - 2.0 * t))


async def _pictures(
    infer: Infer, face: Audio2HeadFace, points: list[KeyPoints]
) -> NDArray[np.uint8]:
    """The square `[n, 256, 256, 3]` moved to each of `points`."""
    source = {
        name: np.broadcast_to(array, (len(points), *array.shape))
        for name, array in face.tensors.items()
    }
    moved = {
        "key_points": np.stack([at.value for at in points]),
        "jacobians": np.stack([at.jacobian for at in points]),
    }
    frames: NDArray[np.uint8] = (await infer("audio2head_frame", {**source, **moved}))["frame"]
    return frames
