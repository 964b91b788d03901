"""Head poses and key points of Audio2Head in a live turn.

Poses are computed step by step, key points in chunks of 64 frames, each requested once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.executors import in_frame_thread
from orchestrator.core.types import RgbImage
from orchestrator.models.audio2head.chunks import CHUNK_FRAMES, CHUNK_MARGIN, CHUNK_STEP
from orchestrator.models.audio2head.pose_boxes import box_picture, denormalised
from orchestrator.models.audio2head.streaming_features import (
    MAX_KEPT_BLOCKS,
    FeatureBlocks,
    Sound,
    extend_features,
)
from orchestrator.models.base import Infer

MAX_EMBEDDING_BATCH: Final = 32
"""Embeddings per request, within the network's largest batch."""

ON_FRAME_TOLERANCE: Final = 1e-3
"""Distance in frames within which a centre counts as on a frame at 25 fps.

At 25 fps nothing is interpolated then.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The photo as input of the networks of this file."""

    picture: RgbImage
    """`[256, 256, 3]`."""
    pose: NDArray[np.float32]
    """`[6]`, of video frame 0, -1..1."""
    vector: NDArray[np.float32]
    """`[256]`, initial state of the head pose."""


@dataclass(frozen=True, slots=True, eq=False)
class KeyPoints:
    """Key points of one frame, or of several along a first axis."""

    value: NDArray[np.float32]
    """`[10, 2]`, (x, y) in -1..1."""
    jacobian: NDArray[np.float32]
    """`[10, 2, 2]`."""

    def toward(self, other: KeyPoints, share: float) -> KeyPoints:
        """Linear interpolation from here (0) to `other` (1)."""
        part = np.float32(share)
        return KeyPoints(
            self.value + part * (other.value - self.value),
            self.jacobian + part * (other.jacobian - self.jacobian),
        )


@dataclass(frozen=True, slots=True, eq=False)
class HeadMotion:
    """State of the head pose network, and its poses so far."""

    first: int
    """Frame of the first pose."""
    poses: NDArray[np.float32]
    """`[n, 6]`, denormalised."""
    vector: NDArray[np.float32]
    hidden: NDArray[np.float32]
    cell: NDArray[np.float32]
    """`[1, 256]`, `[1, 2, 256]`, `[1, 2, 256]`."""


@dataclass(frozen=True, slots=True, eq=False)
class ChunkPoints:
    """Key points of the frames `first .. first + 63`."""

    first: int
    seen: int
    """One past the last block that the network was given; later ones were zero."""
    points: KeyPoints


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """Known motion of the turn."""

    heard: FeatureBlocks
    head: HeadMotion
    chunks: tuple[ChunkPoints, ...] = ()
    """The last two chunks, newest last: a frame can lie between them."""


def native_frames(slot: int, phase: float) -> tuple[int, int, float]:
    """Frames at 25 fps before and after a frame's centre, and its position between them, 0..1."""
    place = slot + phase - 0.5
    before = math.floor(place + ON_FRAME_TOLERANCE)
    share = place - before
    return (
        (max(0, before), max(0, before + 1), share)
        if share > ON_FRAME_TOLERANCE
        else (max(0, before), max(0, before), 0.0)
    )


def chunk_of(frame: int) -> int:
    """First frame of the chunk from which `frame` is taken."""
    return max(0, (frame - CHUNK_MARGIN) // CHUNK_STEP * CHUNK_STEP)


async def follow(
    infer: Infer, source: Source, before: Track | None, sound: Sound, place: tuple[int, int, float]
) -> tuple[Track, KeyPoints]:
    """Key points at `place` (see `native_frames`).

    `before` is continued if the sound still reaches back to its end.
    """
    last = max(0, sound.end - 1) if sound.ended else place[1]
    first, second = (min(frame, last) for frame in place[:2])
    track = await _with_poses(infer, source, before, sound, chunk_of(first))
    points: list[KeyPoints] = []
    for frame in (first, second):
        track = await _with_chunk(infer, source, track, sound, frame)
        chunk = next(chunk for chunk in reversed(track.chunks) if chunk.first == chunk_of(frame))
        at = frame - chunk.first
        points.append(KeyPoints(chunk.points.value[at], chunk.points.jacobian[at]))
    return track, points[0].toward(points[1], place[2])


async def _with_poses(
    infer: Infer, source: Source, before: Track | None, sound: Sound, begin: int
) -> Track:
    """The track with every block embedded and its head pose computed.

    A new track begins at frame `begin` with the photo's pose.
    """
    heard = await in_frame_thread(
        extend_features, before.heard if before is not None else None, sound, begin
    )
    if before is None or sound.first > before.heard.end:
        before = Track(heard, _first_pose(source, heard.first))
    head, posed = before.head, before.head.first + len(before.head.poses) - 1
    if posed < heard.end:
        head = await _step(infer, head, await _embedded(infer, heard.blocks(posed, heard.end)))
    return Track(heard, head, before.chunks)


def _first_pose(source: Source, first: int) -> HeadMotion:
    empty = np.zeros((1, 2, source.vector.shape[-1]), np.float32)
    return HeadMotion(first, denormalised(source.pose)[None], source.vector[None], empty, empty)


async def _embedded(infer: Infer, blocks: NDArray[np.float32]) -> NDArray[np.float32]:
    parts = [
        blocks[at : at + MAX_EMBEDDING_BATCH] for at in range(0, len(blocks), MAX_EMBEDDING_BATCH)
    ]
    answers = [
        (await infer("audio2head_embedding", {"audio": part}))["embedding"] for part in parts
    ]
    return np.concatenate(answers)


async def _step(infer: Infer, head: HeadMotion, embeddings: NDArray[np.float32]) -> HeadMotion:
    """Compute head poses one by one: each depends on the one before."""
    poses, vector, hidden, cell = [head.poses], head.vector, head.hidden, head.cell
    for embedding in embeddings:
        step = await infer(
            "audio2head_pose",
            {"embedding": embedding[None], "vector": vector, "hidden": hidden, "cell": cell},
        )
        vector, hidden, cell = step["next_vector"], step["next_hidden"], step["next_cell"]
        poses.append(denormalised(step["pose"]))
    kept = np.concatenate(poses)[-MAX_KEPT_BLOCKS - 1 :]
    end = head.first + len(head.poses) + len(embeddings)
    return HeadMotion(end - len(kept), kept, vector, hidden, cell)


async def _with_chunk(
    infer: Infer, source: Source, track: Track, sound: Sound, frame: int
) -> Track:
    """The track with the chunk from which `frame` is taken.

    Frames 0 to 15 have a chunk before all of its sound is there: it gets the available sound, as
    upstream does for a short utterance.
    """
    first = chunk_of(frame)
    enough = (
        first
        if frame < CHUNK_MARGIN
        else min(first + CHUNK_FRAMES, sound.end if sound.ended else first + CHUNK_FRAMES)
    )
    if any(chunk.first == first and chunk.seen >= enough for chunk in track.chunks):
        return track
    audio, boxes = await in_frame_thread(_shown, track, first)
    answer = await infer(
        "audio2head_key_points", {"audio": audio, "boxes": boxes, "picture": source.picture[None]}
    )
    seen = min(track.heard.end, first + CHUNK_FRAMES)
    chunk = ChunkPoints(first, seen, KeyPoints(answer["key_points"][0], answer["jacobians"][0]))
    return Track(track.heard, track.head, (*track.chunks, chunk)[-2:])


def _shown(track: Track, first: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Inputs of a chunk: blocks `[1, 64, 4, 41]` and pose images `[1, 64, 256, 256]`.

    Zeros follow the last block.
    """
    heard, head = track.heard, track.head
    blocks = heard.blocks(first, min(heard.end, first + CHUNK_FRAMES))
    audio = np.zeros((1, CHUNK_FRAMES, *blocks.shape[1:]), np.float32)
    audio[0, : len(blocks)] = blocks
    poses = head.poses[first - head.first :][:CHUNK_FRAMES]
    boxes = [box_picture(pose) for pose in poses]
    return audio, np.stack([*boxes, *[boxes[-1]] * (CHUNK_FRAMES - len(boxes))])[None]
