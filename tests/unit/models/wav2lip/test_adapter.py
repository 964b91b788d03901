"""Wav2Lip's adapter: what it hears, what it asks, and that its pictures go into the ones that
`static` draws.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from audio_recordings import chunk, pcm16, syllables
from demo_face import demo_face, frame_windows

from orchestrator.audio.features.decibel_mel import decibel_mel
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.core.types import Keypoint, MelScale, VideoGenerationConfig
from orchestrator.inference import Tensors
from orchestrator.inference.model_contract import read_model
from orchestrator.models.base import FeatureWindows
from orchestrator.models.static.adapter import Static, prepare_static_face
from orchestrator.models.wav2lip.adapter import Wav2Lip
from orchestrator.models.wav2lip.face import FaceBox, Wav2LipFace
from orchestrator.models.wav2lip.features import MEL, chunk_starts
from orchestrator.pipeline.turn import Turn

SPEC = Wav2Lip.spec


@pytest.fixture(scope="module")
def face() -> Wav2LipFace:
    return Wav2Lip().prepare(demo_face(), 256)


@dataclass
class Network:
    """Answers the crop, with one grey level per request's row in it if told so; keeps what it was
    asked.
    """

    coloured: bool = False
    asked: list[Tensors] = field(default_factory=list)

    async def infer(self, model: str, inputs: Tensors) -> dict[str, Any]:
        assert model == "wav2lip"
        read_model(MODEL_REPOSITORY / "wav2lip" / "config.pbtxt").check(inputs)
        self.asked.append(inputs)
        patch = inputs["face"].copy()
        if self.coloured:
            patch[:] = inputs["mel"][:, 0, :1, None, None].astype(np.uint8)
        return {"patch": patch}


def draw(
    network: Network, windows: FeatureWindows, face: Wav2LipFace, state: Any = None
) -> tuple[np.ndarray, Any]:
    return asyncio.run(Wav2Lip().generate(network.infer, windows, face, state))


def numbered(count: int) -> np.ndarray:
    """Mel windows that hold their row's number times ten."""
    return np.broadcast_to(
        10.0 + 10.0 * np.arange(count, dtype=np.float32)[:, None, None], (count, 16, 80)
    ).copy()


def spoken_turn(fps: float, seconds: float = 2.0) -> tuple[Turn, np.ndarray]:
    samples = syllables(16_000, seconds, -20.0)
    turn = Turn("turn-001", 1, VideoGenerationConfig(target_fps=fps), 0.0, 0.0, 0.0)
    data = pcm16(samples)
    for start in range(0, len(data), 3200):
        turn.push(chunk(data[start : start + 3200]), 0.0)
    return turn, np.frombuffer(data, "<i2").astype(np.float32) / 32768.0


@pytest.mark.parametrize("fps", [15.0, 20.0, 25.0])
def test_the_windows_hold_the_offline_mel_and_lie_as_in_training(fps: float) -> None:
    turn, samples = spoken_turn(fps)
    mel = decibel_mel(samples, MEL)
    count = turn.frames_ready(SPEC, 25)
    windows = turn.windows(SPEC, count)
    starts = windows.slot + SPEC.window.ahead_frames + 1 - SPEC.window.frames
    assert count == 25
    for row, start in zip(windows.rows, starts, strict=True):
        first = max(
            start, 3
        )  # the file's first rows are mirrored at its beginning, a stream's see silence
        np.testing.assert_allclose(row[first - start :], mel[first : start + 16], atol=1e-5)
    before_centre_s = (np.arange(count) + 0.5) / fps - starts / 80.0
    assert before_centre_s.min() >= 0.0625 - 1e-6
    assert before_centre_s.max() < 0.0750


def test_at_the_training_s_frame_rate_a_window_begins_one_frame_before_upstream_s_inference() -> (
    None
):
    turn, samples = spoken_turn(25.0)
    slots = turn.windows(SPEC, 25).slot
    upstream = chunk_starts(len(decibel_mel(samples, MEL)), 25.0)[:25]
    assert set((upstream - (slots - 5)).tolist()) <= {3, 4}  # of 12.5 ms


def test_the_look_ahead_is_within_the_design_s() -> None:
    assert SPEC.look_ahead_ms == 150.0
    for fps in (15.0, 20.0, 25.0):
        assert 500.0 / fps + SPEC.look_ahead_ms <= 212.5
    assert MEL.scale is MelScale.DECIBEL


def test_the_probe_is_a_valid_request() -> None:
    inputs_by_network = Wav2Lip().probe_inputs()
    assert inputs_by_network.keys() == set(SPEC.triton_models)
    assert (
        read_model(MODEL_REPOSITORY / "wav2lip" / "config.pbtxt").check(
            inputs_by_network["wav2lip"]
        )
        == 1
    )


@pytest.mark.parametrize("size", [128, 256, 512])
def test_a_network_that_changes_nothing_leaves_the_picture_that_static_draws(size: int) -> None:
    face = Wav2Lip().prepare(demo_face(), size)
    windows = frame_windows(SPEC, [False] * 4, first_frame=20)
    frames, _ = draw(Network(), windows, face)
    resting, _ = asyncio.run(
        Static().generate(Network().infer, windows, prepare_static_face(demo_face(), size), None)
    )
    change = np.abs(frames.astype(int) - resting)
    outside = np.ones((size, size), bool)
    outside[face.box.top : face.box.bottom, face.box.left : face.box.right] = face.patch_weight == 0
    assert frames.shape == (4, size, size, 3)
    assert change[:, outside].max() == 0
    assert change[:, ~outside].mean() < 2.0


def test_a_chunk_is_one_request_in_the_order_of_its_frames(face: Wav2LipFace) -> None:
    network = Network(coloured=True)
    given = frame_windows(SPEC, [False, True, False, False], rows=numbered(4))
    frames, _ = draw(network, given, face)
    (asked,) = network.asked
    assert asked["mel"][:, 0, 0].tolist() == [10.0, 30.0, 40.0]
    mouth = frames[
        :, face.box.bottom - face.box.height // 4, (face.box.left + face.box.right) // 2, 0
    ]
    rest = face.head.at_rest()[
        face.box.bottom - face.box.height // 4, (face.box.left + face.box.right) // 2, 0
    ]
    shown = (rest - mouth.astype(float)) / (
        rest - np.array([10.0, 10.0, 30.0, 40.0])
    )  # the silent one shows what is left of the first
    assert shown == pytest.approx([0.4, 0.0, 0.4, 0.82], abs=0.05)


def test_each_face_is_cut_from_its_own_picture(face: Wav2LipFace) -> None:
    """Blinks and sway are in what the network sees, so that its patch fits the frame it goes
    into.
    """
    network = Network()
    blink = next(second for second in np.arange(0.0, 8.0, 0.05) if _blinks(face, second))
    windows = replace(frame_windows(SPEC, [False, False]), idle_s=np.array([blink - 0.5, blink]))
    draw(network, windows, face)
    eyes = network.asked[0]["face"][:, 15:45].astype(int)
    assert np.abs(eyes[0] - eyes[1]).max() > 60


def _blinks(face: Wav2LipFace, second: float) -> bool:
    open_eyes, now = face.head.resting(np.array([second - 0.5, second])).astype(int)
    return bool(
        np.abs(open_eyes - now)[face.box.top : face.box.top + face.box.height // 2].max() > 90
    )


def test_silence_shows_the_resting_face_and_asks_nobody(face: Wav2LipFace) -> None:
    network = Network()
    windows = frame_windows(SPEC, [True] * 4, first_frame=7)
    frames, state = draw(network, windows, face)
    np.testing.assert_array_equal(frames, face.head.resting(windows.idle_s))
    assert network.asked == []
    assert state is None


@pytest.mark.parametrize("chunks", [[1] * 8, [3, 3, 2], [4, 4], [2, 1, 1, 4]])
def test_any_chunking_draws_the_same_frames(face: Wav2LipFace, chunks: list[int]) -> None:
    silent, rows = [False, False, False, True, True, True, False, False], numbered(8)
    whole = [draw(Network(coloured=True), frame_windows(SPEC, silent[:4], rows=rows[:4]), face)]
    whole.append(
        draw(
            Network(coloured=True), frame_windows(SPEC, silent[4:], 4, rows[4:]), face, whole[0][1]
        )
    )
    state, pieces, first = None, [], 0
    for count in chunks:
        part = slice(first, first + count)
        frames, state = draw(
            Network(coloured=True),
            frame_windows(SPEC, silent[part], first, rows[part]),
            face,
            state,
        )
        pieces.append(frames)
        first += count
    difference = np.concatenate(pieces).astype(int) - np.concatenate(
        [frames for frames, _ in whole]
    )
    assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("slot", [0, 3, 57, 10_000])
def test_it_can_begin_at_any_frame_of_a_turn(face: Wav2LipFace, slot: int) -> None:
    frames, state = draw(Network(), frame_windows(SPEC, [False, False], first_frame=slot), face)
    later, _ = draw(Network(), frame_windows(SPEC, [True], first_frame=slot + 40), face, state)
    np.testing.assert_array_equal(
        later, face.head.resting(frame_windows(SPEC, [True], first_frame=slot + 40).idle_s)
    )
    assert frames.shape == (2, 256, 256, 3)


def test_landmarks_without_a_face_are_told_with_what_to_do() -> None:
    face = demo_face()
    nobody = replace(
        face,
        keypoints=tuple(
            Keypoint(point.x * 0.05 + 300, point.y * 0.05 + 300) for point in face.keypoints
        ),
    )
    with pytest.raises(LipSyncError, match=r"cannot be used with wav2lip.*enrol") as caught:
        Wav2Lip().prepare(nobody, 256)
    assert caught.value.code is LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE


def test_the_box_of_the_portrait_holds_mouth_and_chin(face: Wav2LipFace) -> None:
    assert face.box == FaceBox(top=76, bottom=221, left=71, right=188)
    assert face.nbytes > face.patch_weight.nbytes
