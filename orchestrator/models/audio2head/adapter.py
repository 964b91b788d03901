"""Audio2Head: speech to head pose and key points, rendered by a first-order motion model.

The networks work on chunks of 64 frames, with a look-ahead of 2 s.
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
    join_encodings,
    pasted,
    prepare_audio2head_pictures,
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

POSE_STATE_VALUES: Final = 256
POINTS: Final = 10
FEATURES_SHAPE: Final = (256, 64, 64)
SMALL_PICTURE_SHAPE: Final = (3, 64, 64)

REST_TRANSITION_S: Final = 0.4
"""Time of silent audio to go from speech to rest and back.

The head turns back to its pose in the photo, then the photo fades in.
"""

FADE_SHARE_OF_RETURN: Final = 0.3
"""Part of `REST_TRANSITION_S` that the fade takes."""

MAX_OWN_GAP_S: Final = 0.25
"""Gap between two frames of this model after which other models have generated frames.

The service cross-fades those.
"""


@dataclass(frozen=True, slots=True, eq=False)
class SpeechState:
    """State between chunks: the last shown moment, and the motion of the turn."""

    idle_s: float
    """Session time of the last frame."""
    presence: float
    """0 for a face at rest, 1 for one that moves as the network predicts."""
    shown: KeyPoints | None = None
    track: Track | None = None


class Audio2Head:
    """Head, mouth and lids move as the networks predict.

    Silence shows the resting face of `static`, without a request.
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
            "features": ArraySpec("float32", FEATURES_SHAPE),
            "small_picture": ArraySpec("float32", SMALL_PICTURE_SHAPE),
            "key_points": ArraySpec("float32", (POINTS, 2)),
            "jacobians": ArraySpec("float32", (POINTS, 2, 2)),
            "vector": ArraySpec("float32", (POSE_STATE_VALUES,)),
            "pose": ArraySpec("float32", (6,)),
        }
    )

    def prepare(self, face: FaceModel, size: int) -> Audio2HeadPictures:
        """Cut out the square of the head.

        Raises FACE_MODEL_INCOMPATIBLE where the landmarks hold no face.
        """
        try:
            return prepare_audio2head_pictures(face, size)
        except ValueError as error:
            message = (
                f"face model {face.id!r} cannot be used with audio2head: {error}; "
                "enrol another photo"
            )
            raise LipSyncError(
                LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, message, recoverable=False
            ) from error

    async def encode(self, infer: Infer, face: Audio2HeadPictures) -> dict[str, NDArray[Any]]:
        """Source features, key points and initial head pose; the same for every size."""
        answer = await infer("audio2head_picture", {"picture": face.source[None]})
        return {name: answer[name][0].copy() for name in self.encoding.arrays}

    def with_encodings(
        self, face: Audio2HeadPictures, encodings: Mapping[str, NDArray[Any]]
    ) -> Audio2HeadFace:
        """See `join_encodings`."""
        return join_encodings(face, encodings)

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: Audio2HeadFace, state: SpeechState | None
    ) -> tuple[Frames, SpeechState | None]:
        """Compute motion frame by frame, then generate all images in one request.

        Any chunking gives the same frames.
        """
        moments: list[SpeechState] = []
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
        shares = [min(1.0, moment.presence / FADE_SHARE_OF_RETURN) for moment in moments]
        frames = await in_frame_thread(pasted, face.pictures, windows.idle_s, shares, patches)
        return frames, state

    def probe_inputs(self) -> dict[str, Tensors]:
        """Black images, no sound, all points in the middle.

        The jacobians are inverted, so zeros would not work.
        """
        vector, memory = (
            np.zeros((1, POSE_STATE_VALUES), np.float32),
            np.zeros((1, 2, POSE_STATE_VALUES), np.float32),
        )
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
                "features": np.zeros((1, *FEATURES_SHAPE), np.float32),
                "small_picture": np.zeros((1, *SMALL_PICTURE_SHAPE), np.float32),
                "source_key_points": points,
                "source_jacobians": upright,
                "key_points": points,
                "jacobians": upright,
            },
        }


async def _next(
    infer: Infer,
    windows: FeatureWindows,
    index: int,
    face: Audio2HeadFace,
    before: SpeechState | None,
) -> SpeechState:
    """Advance by one frame.

    In silence the last motion is held while it fades to rest, and no request is made for further
    motion.
    """
    idle_s, silent = float(windows.idle_s[index]), bool(windows.silent[index])
    presence = _presence(before, idle_s, silent)
    track = before.track if before is not None else None
    if silent:
        return SpeechState(
            idle_s, presence, before.shown if before is not None and presence > 0.0 else None, track
        )
    slot = int(windows.slot[index])
    sound = sound_around(windows.rows[index], slot)
    track, shown = await follow(
        infer, face.source, track, sound, native_frames(slot, float(windows.phase[index]))
    )
    return SpeechState(idle_s, presence, shown, track)


def _presence(before: SpeechState | None, idle_s: float, silent: bool) -> float:
    """Presence of this frame, which rises and falls at an even rate.

    A first frame with speech is fully present, as in upstream.
    """
    if before is None or not 0.0 <= idle_s - before.idle_s <= MAX_OWN_GAP_S:
        return 0.0 if silent else 1.0
    step = (idle_s - before.idle_s) / REST_TRANSITION_S
    return max(0.0, before.presence - step) if silent else min(1.0, before.presence + step)


def _returning(moment: SpeechState, rest: KeyPoints) -> KeyPoints | None:
    """Key points to generate: the motion on its way from or to rest; None at rest."""
    if moment.shown is None or moment.presence <= 0.0:
        return None
    t = min(1.0, max(0.0, (moment.presence - FADE_SHARE_OF_RETURN) / (1.0 - FADE_SHARE_OF_RETURN)))
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
