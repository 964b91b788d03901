"""SadTalker's adapter: what its networks are asked at any frame rate and chunking, in speech, in
silence and between both.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
from audio_recordings import chunk, pcm16, syllables
from demo_face import demo_face

from orchestrator.audio.features.decibel_mel import decibel_mel
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.core.types import VideoGenerationConfig
from orchestrator.inference import Tensors
from orchestrator.inference.model_contract import read_model
from orchestrator.models.sadtalker.adapter import MAX_BATCH, SadTalker
from orchestrator.models.sadtalker.coefficients import coefficient_windows
from orchestrator.models.sadtalker.features import MEL, mel_windows
from orchestrator.models.sadtalker.head_motion import DELAY_ROWS, chunk_noise
from orchestrator.models.sadtalker.photo import SadTalkerFace
from orchestrator.models.sadtalker.pose import CHUNK, joined_pose, pose_chunks, smoothed
from orchestrator.pipeline.turn import Turn

SPEC = SadTalker.spec
IDLE_S = 100.0
"""Session time at which the turns of these tests begin."""


def heard(mel: np.ndarray) -> np.ndarray:
    """What the scripted network makes of windows `[n, 16, 80]`: a smooth number per window, spread
    over 64 coefficients.
    """
    return np.repeat(mel.mean(axis=(1, 2))[:, None], 64, axis=1).astype(np.float32)


def moved(mel: np.ndarray) -> np.ndarray:
    """Motions `[n, 32, 6]` of chunks `[n, 32, 16, 80]`, with a step at the beginning of each."""
    motion = mel.mean(axis=(2, 3)) - mel[:, :1].mean(axis=(2, 3))
    return np.repeat(0.1 * motion[..., None], 6, axis=2).astype(np.float32)


@dataclass
class Networks:
    """All six, scripted; they keep what they were asked and check it against the shipped
    configuration.
    """

    asked: list[tuple[str, Tensors]] = field(default_factory=list)

    async def infer(self, model: str, inputs: Tensors) -> dict[str, Any]:
        contract(model).check(inputs)
        self.asked.append((model, inputs))
        answer: dict[str, Any] = getattr(self, model.removeprefix("sadtalker_"))(inputs)
        return answer

    def of(self, model: str) -> list[Tensors]:
        return [inputs for name, inputs in self.asked if name == f"sadtalker_{model}"]

    @property
    def windows(self) -> np.ndarray:
        """Coefficient windows `[frames, 70, 27]` of all frames so far."""
        return np.concatenate([inputs["coefficients"] for inputs in self.of("key_points")])

    def expression(self, inputs: Tensors) -> dict[str, Any]:
        return {
            "expression": heard(inputs["mel"]) + inputs["blink"] * np.arange(64, dtype=np.float32)
        }

    def pose(self, inputs: Tensors) -> dict[str, Any]:
        return {"motion": moved(inputs["mel"])}

    def key_points(self, inputs: Tensors) -> dict[str, Any]:
        return {
            "key_points": inputs["canonical_key_points"]
            + inputs["coefficients"][:, 0, 13, None, None]
        }

    def renderer(self, inputs: Tensors) -> dict[str, Any]:
        return {
            "frames": np.full((1, inputs["driving_key_points"].shape[1], 256, 256, 3), 90, np.uint8)
        }

    def photo(self, inputs: Tensors) -> dict[str, Any]:
        shapes = {
            "feature_volume": (32, 16, 64, 64),
            "compressed_volume": (4, 16, 64, 64),
            "canonical_key_points": (15, 3),
        }
        return {name: np.full((1, *shape), 0.5, np.float32) for name, shape in shapes.items()}

    def reconstruction(self, inputs: Tensors) -> dict[str, Any]:
        return {"coefficients": np.arange(257, dtype=np.float32)[None] / 100.0}


@cache
def contract(model: str) -> Any:
    return read_model(MODEL_REPOSITORY / model / "config.pbtxt")


@pytest.fixture(scope="module")
def face() -> SadTalkerFace:
    adapter = SadTalker()
    photo = adapter.prepare(demo_face(), 128)
    return adapter.with_encodings(photo, asyncio.run(adapter.encode(Networks().infer, photo)))


def speech(seconds: float, silence_s: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """Syllables, with nothing at all between the two times."""
    samples = np.asarray(syllables(16_000, seconds, -20.0), np.float64)
    samples[round(silence_s[0] * 16_000) : round(silence_s[1] * 16_000)] = 0.0
    return samples


def turn_of(samples: np.ndarray, fps: float) -> Turn:
    turn = Turn("turn-001", 1, VideoGenerationConfig(target_fps=fps), 0.0, 0.0, IDLE_S)
    data = pcm16(samples)
    for start in range(0, len(data), 64_000):
        turn.push(chunk(data[start : start + 64_000]), 0.0)
    turn.finish(0.0)
    return turn


def spoken(
    face: SadTalkerFace,
    samples: np.ndarray,
    fps: float,
    batch: int = 8,
    first: int = 0,
    most: int = 10_000,
) -> Networks:
    """A turn from frame `first` on, drawn `batch` frames at a time."""
    turn, networks, state = turn_of(samples, fps), Networks(), None
    turn.next_frame = first
    while (
        count := min(batch, turn.frame_count - turn.next_frame)
    ) > 0 and turn.next_frame - first < most:
        frames, state = asyncio.run(
            SadTalker().generate(networks.infer, turn.windows(SPEC, count), face, state)
        )
        assert frames.shape == (count, 128, 128, 3)
        turn.advance(list(frames), SPEC.model, 0.0)
    return networks


def without_blinks(windows: np.ndarray) -> np.ndarray:
    """The first coefficient, to which the scripted blink adds nothing, and the pose."""
    return windows[:, [0, *range(64, 70)]]


def upstream_rows(
    face: SadTalkerFace, samples: np.ndarray, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Expressions and poses of a whole recording, the head's sound as much later as the adapter
    hears it.
    """
    mel = decibel_mel((np.frombuffer(pcm16(samples), "<i2") / 32768.0).astype(np.float32), MEL)
    windows = mel_windows(mel, frames)
    late = windows[np.maximum(np.arange(frames) - DELAY_ROWS, 0)]
    motion = moved(pose_chunks(late)[:, :, 0].transpose(0, 1, 3, 2))
    return heard(windows[:, 0].transpose(0, 2, 1)), smoothed(joined_pose(motion, face.pose, frames))


def test_at_25_frames_a_second_the_rows_are_upstream_s(face: SadTalkerFace) -> None:
    frames = 3 * CHUNK + 1
    samples = speech(frames / 25.0)
    expression, pose = upstream_rows(face, samples, frames)
    expected = coefficient_windows(np.concatenate((expression, pose), axis=1))
    windows = spoken(face, samples, 25.0, batch=4).windows
    assert len(windows) == frames
    steady = slice(
        20, frames - 20
    )  # upstream fits another curve to the ends and repeats the last row
    np.testing.assert_allclose(
        without_blinks(windows[steady]), without_blinks(expected[steady]), atol=1e-4
    )
    np.testing.assert_allclose(windows[:13, 0, :13], expected[:13, 0, :13], atol=0.05)


@pytest.mark.parametrize("fps", [15.0, 19.0, 25.0])
def test_any_chunking_asks_for_the_same_key_points(face: SadTalkerFace, fps: float) -> None:
    samples = speech(3.0, (1.0, 2.4))
    one, four = spoken(face, samples, fps, batch=2), spoken(face, samples, fps, batch=7)
    np.testing.assert_allclose(one.windows, four.windows, atol=1e-5)
    assert all(len(inputs["mel"]) <= MAX_BATCH for inputs in four.of("expression"))


@pytest.mark.parametrize("fps", [15.0, 20.0, 25.0])
def test_each_row_is_heard_once(face: SadTalkerFace, fps: float) -> None:
    networks = spoken(face, speech(4.0), fps)
    rows = sum(len(inputs["mel"]) for inputs in networks.of("expression"))
    assert rows <= 4.0 * 25 + 15
    assert sum(len(inputs["mel"]) for inputs in networks.of("pose")) == 4
    assert len(networks.of("key_points")) == len(networks.of("renderer"))


def test_a_turn_can_be_joined_at_any_frame(face: SadTalkerFace) -> None:
    samples = speech(6.0)
    whole = spoken(face, samples, 20.0).windows
    for first in (1, 30, 61, 93):
        joined = spoken(face, samples, 20.0, first=first, most=8).windows
        np.testing.assert_allclose(joined, whole[first : first + 8], atol=1e-5)


def test_frames_between_two_rows_mix_them(face: SadTalkerFace) -> None:
    samples = speech(2.0)
    rows = spoken(face, samples, 25.0).windows[:, 0, 13]
    for fps in (15.0, 20.0):
        middles = spoken(face, samples, fps).windows[:, 0, 13]
        places = (np.arange(len(middles)) + 0.5) / fps * 25.0 - 0.5
        inner = places < len(rows) - 1
        np.testing.assert_allclose(
            middles[inner], np.interp(places[inner], np.arange(len(rows)), rows), atol=1e-4
        )


def test_silence_asks_no_audio_network_and_rests_on_the_photo_s_expression(
    face: SadTalkerFace,
) -> None:
    networks = spoken(face, np.zeros(5 * 16_000), 20.0)
    assert not networks.of("expression")
    assert not networks.of("pose")
    windows = networks.windows
    np.testing.assert_allclose(windows[:, 0], face.expression[0], atol=1e-6)
    blinks = (windows[:, 63, 13] - face.expression[63]) / 63.0
    assert 0.9 < blinks.max() <= 1.0
    assert (blinks < 0.01).mean() > 0.9
    sway = windows[:, 64:67, 13] - face.pose[:3]
    assert 0.001 < np.abs(sway[20:]).max() < 0.05


def test_speech_and_silence_pass_into_each_other(face: SadTalkerFace) -> None:
    samples = speech(7.0, (2.5, 5.5))
    networks = spoken(face, samples, 25.0)
    rows = networks.windows[:, 0, 13]
    resting = np.abs(rows - face.expression[0]) < 1e-5
    assert resting[88:130].all()
    assert not resting[:50].any() and not resting[150:].any()
    speaking = spoken(face, speech(3.0), 25.0).windows[:, 0, 13]
    gap = np.abs(heard(np.full((1, 16, 80), -4.0))[0, 0] - face.expression[0])
    assert np.abs(np.diff(rows)).max() <= max(np.abs(np.diff(speaking)).max(), gap / 4) + 0.3
    last = networks.of("expression")
    assert sum(len(inputs["mel"]) for inputs in last) < 7.0 * 25 - 40


def test_the_head_moves_without_jumps(face: SadTalkerFace) -> None:
    """The scripted motions jump at the borders of chunks, by as much as the loudest syllable."""
    samples = speech(7.0, (2.5, 4.5))
    networks = spoken(face, samples, 25.0)
    pose = networks.windows[:, 64:70, 13] - face.pose
    raw = moved(np.concatenate([inputs["mel"] for inputs in networks.of("pose")]))
    jump = np.abs(np.diff(raw.reshape(-1, 6), axis=0)).max()
    assert np.abs(np.diff(pose, axis=0)).max() < 0.5 * jump
    assert np.abs(pose[40:]).max() > 0.1


def test_noise_differs_by_face_turn_and_chunk_and_by_nothing_else() -> None:
    draws = {
        chunk_noise(*key).tobytes() for key in ((1, 0.0, 0), (2, 0.0, 0), (1, 3.2, 0), (1, 0.0, 1))
    }
    assert len(draws) == 4
    assert chunk_noise(1, 3.2, 5).tobytes() == chunk_noise(1, 3.2 + 1e-7, 5).tobytes()


def test_frames_of_another_model_in_between_cost_only_what_was_missed(face: SadTalkerFace) -> None:
    samples, networks = speech(8.0), Networks()
    turn = turn_of(samples, 20.0)
    _, state = asyncio.run(SadTalker().generate(networks.infer, turn.windows(SPEC, 4), face, None))
    turn.next_frame = 100
    asyncio.run(SadTalker().generate(networks.infer, turn.windows(SPEC, 4), face, state))
    alone = spoken(face, samples, 20.0, first=100, most=1)
    np.testing.assert_allclose(networks.windows[4:], alone.windows[:4], atol=1e-5)


def test_a_failed_call_leaves_the_state_as_it_was(face: SadTalkerFace) -> None:
    samples, networks = speech(4.0), Networks()
    turn = turn_of(samples, 20.0)
    _, state = asyncio.run(SadTalker().generate(networks.infer, turn.windows(SPEC, 4), face, None))
    turn.next_frame = 4

    async def broken(model: str, inputs: Tensors) -> dict[str, Any]:
        if model == "sadtalker_renderer":
            raise TimeoutError
        return await networks.infer(model, inputs)

    with pytest.raises(TimeoutError):
        asyncio.run(SadTalker().generate(broken, turn.windows(SPEC, 4), face, state))
    asyncio.run(SadTalker().generate(networks.infer, turn.windows(SPEC, 4), face, state))
    np.testing.assert_array_equal(networks.windows[8:12], spoken(face, samples, 20.0).windows[4:8])


def test_encodings_are_as_declared_and_do_not_depend_on_the_size() -> None:
    adapter, answers = SadTalker(), []
    for size in (128, 512):
        networks = Networks()
        answers.append(
            asyncio.run(adapter.encode(networks.infer, adapter.prepare(demo_face(), size)))
        )
        assert {model for model, _ in networks.asked} == set(adapter.face_models)
        assert {name: (str(array.dtype), array.shape) for name, array in answers[-1].items()} == {
            name: (spec.dtype, spec.shape) for name, spec in adapter.encoding.arrays.items()
        }
        assert all(array.base is None for array in answers[-1].values())
    for name, array in answers[0].items():
        np.testing.assert_array_equal(array, answers[1][name])
    np.testing.assert_allclose(answers[0]["closed_lids"], np.arange(64), atol=1e-4)
    row = np.arange(257, dtype=np.float32) / 100.0
    np.testing.assert_array_equal(
        answers[0]["coefficients"], [*row[80:144], *row[224:227], *row[254:257]]
    )


def test_the_declaration_says_what_the_windows_hold() -> None:
    inputs_by_network = SadTalker().probe_inputs()
    assert inputs_by_network.keys() == set(SPEC.triton_models)
    for model, inputs in inputs_by_network.items():
        contract(model).check(inputs)
    assert SPEC.look_ahead_ms == 675.0
    assert not SPEC.licences.commercial
