"""Audio2Head's live motion with seeded weights against the record of upstream's whole program."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from project_root import ROOT
from scripted_audio2head import skip, step, turn_of
from seeded_models import SeededRepository

from export.reference import Reference
from orchestrator.inference import Tensors
from orchestrator.inference.local.inference import LocalInference
from orchestrator.inference.model_contract import read_repository
from orchestrator.models.audio2head.chunks import chunks
from orchestrator.models.audio2head.motion import KeyPoints, Source, Track, follow, native_frames
from orchestrator.models.audio2head.pose_boxes import POSE_MAX, POSE_MIN
from orchestrator.models.audio2head.streaming_features import block_count, sound_around

RECORDS = ROOT / "tests" / "data" / "reference" / "audio2head"
FIRST = 16
"""The frame at which all of the recorded 2.4 s are known: from here on nothing is left to differ. 
"""

PATIENCE_S = 1200.0


async def test_key_points_of_a_live_turn_are_those_of_upstream_s_program(
    seeded_repository: SeededRepository,
) -> None:
    reference = Reference(RECORDS, seed=1)
    repository = read_repository(seeded_repository("audio2head", "audio2head_key_points"))
    async with LocalInference(repository) as inference:
        points = await moved(reference, inference)
    frames = block_count(len(reference.records["raw.wav_int16"]))
    assert len(points) == frames - FIRST
    for number, chunk in enumerate(chunks(frames)):
        kept = [
            frame
            for frame in range(chunk.first + chunk.kept.start, chunk.first + chunk.kept.stop)
            if frame >= FIRST
        ]
        for key in ("value", "jacobian"):
            name = f"e2e_program.kp_{key}_chunk{number}"
            recorded = reference.records[name][0]
            every = -(-64 // len(recorded))
            compared = [frame for frame in kept if (frame - chunk.first) % every == 0]
            assert compared
            for frame in compared:
                error = np.abs(
                    getattr(points[frame - FIRST], key) - recorded[(frame - chunk.first) // every]
                ).max()
                assert error <= reference.tolerance(name), (name, frame)


async def moved(reference: Reference, inference: LocalInference) -> list[KeyPoints]:
    """Key points from frame `FIRST` on; the head is posed as in the record, since a corner's last
    bit can move a whole pose picture.
    """
    poses = recorded_poses(reference)
    left = iter(poses[1:])

    async def infer(model: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if model == "audio2head_embedding":
            return {"embedding": np.zeros((len(inputs["audio"]), 256), np.float32)}
        if model == "audio2head_pose":
            return {
                "pose": next(left)[None],
                **{f"next_{name}": inputs[name] for name in ("vector", "hidden", "cell")},
            }
        return await inference.infer(model, inputs, deadline=time.monotonic() + PATIENCE_S)

    source = Source(reference.inputs["source_u8"], poses[0], np.zeros(256, np.float32))
    samples = reference.records["raw.wav_int16"]
    turn, track, points = skip(turn_of(samples), FIRST), None, list[KeyPoints]()
    for _ in range(block_count(len(samples)) - FIRST):
        track, at = await _follow_one(infer, source, track, step(turn))
        points.append(at)
    return points


async def _follow_one(
    infer: Any, source: Source, track: Track | None, windows: Any
) -> tuple[Track, KeyPoints]:
    slot, phase = int(windows.slot[0]), float(windows.phase[0])
    return await follow(
        infer, source, track, sound_around(windows.rows[0], slot), native_frames(slot, phase)
    )


def recorded_poses(reference: Reference) -> NDArray[np.float32]:
    """`[60, 6]` as the network gave them, -1..1."""
    recorded = reference.records["e2e_program.pose"].astype(np.float64)
    unit: NDArray[np.float32] = (
        (recorded - POSE_MIN) / (POSE_MAX.astype(np.float64) - POSE_MIN) * 2 - 1
    ).astype(np.float32)
    return unit
