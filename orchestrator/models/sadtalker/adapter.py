"""SadTalker: speech to 3DMM expression and head pose, then a face renderer; for a GPU.

Upstream processes a whole recording. Here rows of coefficients lie on the turn's own grid of 25 a
second. A frame of any rate reads 27 of them around its centre, interpolated between two rows.
`docs/models.md` has the differences from upstream and their reasons.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.executors import in_frame_thread
from orchestrator.core.types import FaceModel, LipSyncModel
from orchestrator.inference import Tensors
from orchestrator.models.base import (
    ArraySpec,
    FaceEncoding,
    FeatureWindows,
    Frames,
    Infer,
    Licences,
    ModelSpec,
)
from orchestrator.models.sadtalker.coefficients import (
    EXPRESSION,
    POSED_VALUES,
    REACH_FRAMES,
    still_window,
)
from orchestrator.models.sadtalker.expression import SpokenRows, joined, new_rows, still_valid
from orchestrator.models.sadtalker.face import ALIGNED_SIZE, PICTURE_SIZE
from orchestrator.models.sadtalker.features import MEL, WINDOW_FRAMES
from orchestrator.models.sadtalker.head_motion import (
    NOISE,
    POSE,
    Chunks,
    motions,
    new_chunks,
    still_needed,
)
from orchestrator.models.sadtalker.paste import paste_all
from orchestrator.models.sadtalker.photo import (
    SadTalkerFace,
    SadTalkerPhoto,
    photo_coefficients,
    prepare_photo,
)
from orchestrator.models.sadtalker.pose import CHUNK
from orchestrator.models.sadtalker.timing import WINDOW, Moment, moments, row_times_s
from orchestrator.rendering.idle import idle_motion

MAX_BATCH: Final = 32
"""Largest batch of `sadtalker_expression`; a first chunk of a turn may need more rows."""

STYLE: Final = 0
"""Style of head motion, 0..45; upstream's default."""

KEY_POINTS: Final = (15, 3)
VOLUME_SHAPES: Final = {"feature_volume": (32, 16, 64, 64), "compressed_volume": (4, 16, 64, 64)}
"""The renderer's data of a photo: 9 MB."""

SILENT_MEL_VALUE: Final = -4.0
"""Value of every number of a silent decibel mel."""


@dataclass(frozen=True, slots=True, eq=False)
class SadTalkerState:
    """Rows that later frames reuse; all of it can be recomputed from a frame's window."""

    speech: SpokenRows
    head: Chunks


class SadTalker:
    """Expression, head pose, key points, image: four networks in a row.

    The first two run together and only for new rows. In silence the face takes on the photo's own
    expression and sways as in the other models; only key points and image are requested.
    """

    spec = ModelSpec(
        model=LipSyncModel.SADTALKER,
        triton_models=(
            "sadtalker_expression",
            "sadtalker_pose",
            "sadtalker_key_points",
            "sadtalker_renderer",
            "sadtalker_photo",
            "sadtalker_reconstruction",
        ),
        features=MEL,
        window=WINDOW,
        quality=0.85,
        min_size=128,
        licences=Licences(code="ours", weights="unstated", commercial=False),
        gpu_memory_mb=4000,
    )
    face_models = (
        "sadtalker_photo",
        "sadtalker_reconstruction",
        "sadtalker_key_points",
        "sadtalker_expression",
    )
    encoding = FaceEncoding(
        {
            **{name: ArraySpec("float32", shape) for name, shape in VOLUME_SHAPES.items()},
            "canonical_key_points": ArraySpec("float32", KEY_POINTS),
            "source_key_points": ArraySpec("float32", KEY_POINTS),
            "coefficients": ArraySpec("float32", (POSED_VALUES,)),
            "closed_lids": ArraySpec("float32", (EXPRESSION,)),
        }
    )

    def prepare(self, face: FaceModel, size: int) -> SadTalkerPhoto:
        """Cut the square that moves, align the face, and prepare the paste into the image.

        Raises FACE_MODEL_INCOMPATIBLE for a face too small.
        """
        return prepare_photo(face, size)

    async def encode(self, infer: Infer, face: SadTalkerPhoto) -> dict[str, NDArray[Any]]:
        """Volumes, key points and coefficients of the photo, and the effect of a blink.

        The same for every size.
        """
        photo, rebuilt = await asyncio.gather(
            infer("sadtalker_photo", {"picture": face.picture[None]}),
            infer("sadtalker_reconstruction", {"face": face.aligned[None]}),
        )
        row, canonical = (
            photo_coefficients(rebuilt["coefficients"][0]),
            photo["canonical_key_points"][0].copy(),
        )
        posed, lids = await asyncio.gather(
            infer(
                "sadtalker_key_points",
                {"coefficients": still_window(row)[None], "canonical_key_points": canonical[None]},
            ),
            infer("sadtalker_expression", _lids(row[:EXPRESSION])),
        )
        return {
            **{name: photo[name][0].copy() for name in VOLUME_SHAPES},
            "canonical_key_points": canonical,
            "source_key_points": posed["key_points"][0].copy(),
            "coefficients": row,
            "closed_lids": lids["expression"][1] - lids["expression"][0],
        }

    def with_encodings(
        self, face: SadTalkerPhoto, encodings: Mapping[str, NDArray[Any]]
    ) -> SadTalkerFace:
        """Join the photo with its encodings."""
        return SadTalkerFace(photo=face, **encodings)

    async def generate(
        self,
        infer: Infer,
        windows: FeatureWindows,
        face: SadTalkerFace,
        state: SadTalkerState | None,
    ) -> tuple[Frames, SadTalkerState]:
        """Generate frames; any chunking of a turn gives the same."""
        frames = moments(windows)
        speech, head = await asyncio.gather(
            _speech(infer, frames, face, state.speech if state else None),
            _head(infer, frames, face, state.head if state else {}),
        )
        points = await infer(
            "sadtalker_key_points",
            {
                "coefficients": _coefficients(frames, face, speech, head),
                "canonical_key_points": np.repeat(
                    face.canonical_key_points[None], len(frames), axis=0
                ),
            },
        )
        pictures = (await infer("sadtalker_renderer", _drawing(face, points["key_points"])))[
            "frames"
        ][0]
        drawn = await in_frame_thread(paste_all, face.photo.still, pictures, face.photo.pasting)
        begin = frames[-1].begin
        return drawn, SadTalkerState(speech.since(begin), still_needed(head, begin))

    def probe_inputs(self) -> dict[str, Tensors]:
        """Silence, black images, all points in the middle; one frame."""
        points, window = (
            np.zeros((1, *KEY_POINTS), np.float32),
            np.full((1, WINDOW_FRAMES, MEL.n_mels), SILENT_MEL_VALUE, np.float32),
        )
        volumes = {name: np.zeros((1, *shape), np.float32) for name, shape in VOLUME_SHAPES.items()}
        return {
            "sadtalker_expression": _expression_inputs(window, np.zeros(EXPRESSION, np.float32)),
            "sadtalker_pose": _moving(
                window[None].repeat(CHUNK, axis=1),
                np.zeros((1, NOISE), np.float32),
                np.zeros(POSE, np.float32),
            ),
            "sadtalker_key_points": {
                "coefficients": np.zeros((1, POSED_VALUES, 2 * REACH_FRAMES + 1), np.float32),
                "canonical_key_points": points,
            },
            "sadtalker_renderer": {
                **volumes,
                "source_key_points": points,
                "driving_key_points": points[None],
            },
            "sadtalker_photo": {"picture": np.zeros((1, PICTURE_SIZE, PICTURE_SIZE, 3), np.uint8)},
            "sadtalker_reconstruction": {
                "face": np.zeros((1, ALIGNED_SIZE, ALIGNED_SIZE, 3), np.uint8)
            },
        }


async def _speech(
    infer: Infer, frames: list[Moment], face: SadTalkerFace, known: SpokenRows | None
) -> SpokenRows:
    """Expressions of all rows that the frames need."""
    known = still_valid(known, frames)
    new = new_rows(known, frames)
    parts = [new.mel[begin : begin + MAX_BATCH] for begin in range(0, len(new.mel), MAX_BATCH)]
    asked = [
        infer("sadtalker_expression", _expression_inputs(mel, face.expression)) for mel in parts
    ]
    answers = [answer["expression"] for answer in await asyncio.gather(*asked)]
    return joined(
        known,
        new,
        np.concatenate(answers) if answers else np.zeros((0, EXPRESSION), np.float32),
        face.expression,
    )


async def _head(infer: Infer, frames: list[Moment], face: SadTalkerFace, known: Chunks) -> Chunks:
    """All chunks of head motion that the frames need."""
    new = new_chunks(known, frames, face.photo.seed)
    chunks = {**known, **new.resting}
    if new.numbers:
        answer = (await infer("sadtalker_pose", _moving(new.mel, new.noise, face.pose)))["motion"]
        chunks.update(zip(new.numbers, answer, strict=True))
    return chunks


def _coefficients(
    frames: list[Moment], face: SadTalkerFace, speech: SpokenRows, head: Chunks
) -> NDArray[np.float32]:
    """Inputs of the mapping network for each frame, `[n, 70, 27]`."""
    begin, end = frames[0].begin, max(frame.end for frame in frames)
    rows = np.arange(begin, end)
    lids = idle_motion(row_times_s(rows, frames[0].began_s), face.photo.seed)[:, :1]
    expressions = speech.expressions(rows, face.expression) + lids * face.closed_lids
    table = np.concatenate((expressions, face.pose + motions(head, begin, end)), axis=1)
    windows = [_between(table[frame.around() - begin], frame.share).T for frame in frames]
    return np.stack(windows)


def _between(rows: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Rows `[27, 70]` from `[28, 70]`, each interpolated by `share` towards its next."""
    return (1.0 - share) * rows[:-1] + share * rows[1:]


def _expression_inputs(mel: NDArray[np.float32], own: NDArray[np.float32]) -> Tensors:
    """Inputs of the expression network with open lids.

    A blink adds the same to every expression, whatever the audio (the network's last layer is
    linear).
    """
    return {
        "mel": mel,
        "reference_expression": np.repeat(own[None], len(mel), axis=0),
        "blink": np.zeros((len(mel), 1), np.float32),
    }


def _lids(own: NDArray[np.float32]) -> Tensors:
    """The same silence with lids open and closed."""
    silence = np.full((2, WINDOW_FRAMES, MEL.n_mels), SILENT_MEL_VALUE, np.float32)
    return {**_expression_inputs(silence, own), "blink": np.array([[0.0], [1.0]], np.float32)}


def _moving(
    mel: NDArray[np.float32], noise: NDArray[np.float32], pose: NDArray[np.float32]
) -> Tensors:
    style = np.full((len(mel), 1), STYLE, np.int64)
    return {
        "mel": mel,
        "noise": noise,
        "style": style,
        "reference_pose": np.repeat(pose[None], len(mel), axis=0),
    }


def _drawing(face: SadTalkerFace, points: NDArray[np.float32]) -> Tensors:
    """Inputs of the renderer; the chunk is one item, so that the volumes are sent once."""
    return {
        "feature_volume": face.feature_volume[None],
        "compressed_volume": face.compressed_volume[None],
        "source_key_points": face.source_key_points[None],
        "driving_key_points": points[None],
    }
