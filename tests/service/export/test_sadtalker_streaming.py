"""SadTalker's adapter in a live turn against what upstream recorded of the same speech as a whole
file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
import pytest
from audio_recordings import chunk
from demo_face import demo_face
from project_root import ROOT
from seeded_models import SeededRepository

from orchestrator.core.types import VideoGenerationConfig
from orchestrator.inference import Tensors
from orchestrator.inference.local.inference import LocalInference
from orchestrator.inference.model_contract import read_repository
from orchestrator.models.sadtalker.adapter import SadTalker
from orchestrator.models.sadtalker.coefficients import coefficient_windows
from orchestrator.models.sadtalker.features import blink_ratio
from orchestrator.models.sadtalker.photo import SadTalkerFace
from orchestrator.models.sadtalker.timing import row_times_s
from orchestrator.pipeline.turn import Turn
from orchestrator.rendering.idle import idle_motion

RECORDS = ROOT / "tests" / "data" / "reference" / "sadtalker" / "outputs_seed1.npz"
NETWORKS = ("sadtalker_expression", "sadtalker_pose", "sadtalker_key_points")

FRAMES = 50
LAST_HEARD = 46
"""The mel windows of later rows reach past the file's end, where upstream repeats its last column
and a turn hears silence.
"""

INNER = slice(13, LAST_HEARD - 13)
"""Frames whose 27 rows all lie in the file."""

TOLERANCE = 5e-5
"""Six times what was measured; the mel here comes from 16 bit samples in pieces, the blinks are
added after the network.
"""


class LightNetworks:
    """The real audio and mapping networks; what would draw or see the photo is made up."""

    def __init__(self, inference: LocalInference, coefficients: np.ndarray) -> None:
        self._inference, self._coefficients = inference, coefficients
        self.windows: list[np.ndarray] = []

    async def infer(self, model: str, inputs: Tensors) -> dict[str, Any]:
        if model == "sadtalker_reconstruction":
            answer = np.zeros((1, 257), np.float32)
            answer[0, 80:144], answer[0, 224:227], answer[0, 254:257] = np.split(
                self._coefficients, (64, 67)
            )
            return {"coefficients": answer}
        if model == "sadtalker_photo":
            shapes = {
                "feature_volume": (32, 16, 64, 64),
                "compressed_volume": (4, 16, 64, 64),
                "canonical_key_points": (15, 3),
            }
            return {name: np.zeros((1, *shape), np.float32) for name, shape in shapes.items()}
        if model == "sadtalker_renderer":
            return {
                "frames": np.zeros(
                    (1, inputs["driving_key_points"].shape[1], 256, 256, 3), np.uint8
                )
            }
        if model == "sadtalker_key_points":
            self.windows.extend(inputs["coefficients"])
        return await self._inference.infer(
            model, inputs, deadline=asyncio.get_running_loop().time() + 600.0
        )


@pytest.fixture(scope="module")
def records() -> Iterator[dict[str, np.ndarray]]:
    with np.load(RECORDS) as archive:
        yield {key: archive[key] for key in archive.files}


async def test_a_streamed_turn_has_the_expressions_that_upstream_recorded_of_the_file(
    seeded_repository: SeededRepository, records: dict[str, np.ndarray]
) -> None:
    repository = read_repository(seeded_repository("sadtalker", *NETWORKS))
    async with LocalInference(repository) as inference:
        networks = LightNetworks(inference, records["raw.source_coeff73"][0, :70])
        face = await encoded_face(networks)
        await speak(networks, face, records["raw.wav_int16"])
    windows = np.stack(networks.windows[1:])  # the first asked for the photo's own key points
    lids = idle_motion(row_times_s(np.arange(FRAMES), 0.0), face.photo.seed)[:, :1]
    heard = windows[:, :64, 13] - lids * face.closed_lids
    recorded = records["e2e_audio_to_coeff.coeff"].reshape(FRAMES, 70)[:, :64]
    expected = recorded - blink_ratio(FRAMES, Random(1))[:, None] * face.closed_lids
    assert np.abs(face.closed_lids).max() > 100 * TOLERANCE
    np.testing.assert_allclose(heard[:LAST_HEARD], expected[:LAST_HEARD], atol=TOLERANCE)
    around = coefficient_windows((expected + lids * face.closed_lids).astype(np.float32))
    np.testing.assert_allclose(windows[INNER, :64], around[INNER], atol=TOLERANCE)


async def encoded_face(networks: LightNetworks) -> SadTalkerFace:
    adapter = SadTalker()
    photo = adapter.prepare(demo_face(), 128)
    return adapter.with_encodings(photo, await adapter.encode(networks.infer, photo))


async def speak(networks: LightNetworks, face: SadTalkerFace, speech: np.ndarray) -> None:
    """The whole file in one turn of 25 frames a second, four frames at a time."""
    adapter, turn, state = (
        SadTalker(),
        Turn("turn-001", 1, VideoGenerationConfig(target_fps=25.0), 0.0, 0.0, 0.0),
        None,
    )
    turn.push(chunk(speech.astype("<i2").tobytes()), 0.0)
    turn.finish(0.0)
    assert turn.frame_count == FRAMES
    while count := min(4, FRAMES - turn.next_frame):
        frames, state = await adapter.generate(
            networks.infer, turn.windows(adapter.spec, count), face, state
        )
        turn.advance(list(frames), adapter.spec.model, 0.0)
