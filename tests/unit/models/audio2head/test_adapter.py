"""Audio2Head's adapter: pictures of the network go back into the whole one unseen, and silence is
the resting face.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from demo_face import demo_face, small_face
from scripted_audio2head import SPEC, Networks, contract, hiss, silence_in, skip, step, turn_of

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel, Keypoint
from orchestrator.inference import Tensors
from orchestrator.models.audio2head.adapter import REST_TRANSITION_S, Audio2Head, SpeechState
from orchestrator.models.audio2head.face import Audio2HeadFace
from orchestrator.models.base import EncodesFace
from orchestrator.pipeline.turn import Turn

pytestmark = pytest.mark.slow

SAID = silence_in(hiss(7.0), 0.6, 5.6)
"""Sound, five seconds of silence, sound."""


def prepared(photo: FaceModel, size: int = 256) -> Audio2HeadFace:
    adapter, pictures = Audio2Head(), Audio2Head().prepare(photo, size)
    return adapter.with_encodings(pictures, asyncio.run(adapter.encode(Networks().infer, pictures)))


@pytest.fixture(scope="module")
def face() -> Audio2HeadFace:
    return prepared(demo_face())


def speak(
    networks: Networks,
    face: Audio2HeadFace,
    turn: Turn,
    frames: int,
    at_once: int = 4,
    state: SpeechState | None = None,
) -> tuple[np.ndarray, list[SpeechState]]:
    """Pictures of the turn's next frames, and the states after each call."""
    states = [state]

    async def speak_all() -> np.ndarray:
        drawn = []
        for begin in range(0, frames, at_once):
            windows = step(turn, min(at_once, frames - begin))
            pictures, after = await Audio2Head().generate(networks.infer, windows, face, states[-1])
            states.append(after)
            drawn.append(pictures)
        return np.concatenate(drawn)

    return asyncio.run(speak_all()), [after for after in states[1:] if after is not None]


def resting(face: Audio2HeadFace, first: int, frames: int) -> np.ndarray:
    return face.pictures.head.resting((first + np.arange(frames) + 0.5) / 25)


def test_any_chunking_of_the_frames_moves_the_face_alike(face: Audio2HeadFace) -> None:
    one, four = Networks(), Networks()
    speak(one, face, turn_of(hiss(2.2), 20.0), 20, 1)
    speak(four, face, turn_of(hiss(2.2), 20.0), 20, 4)
    np.testing.assert_array_equal(one.drawn(), four.drawn())
    assert len(four.of("frame")) == 5


def test_in_silence_the_head_comes_to_rest_without_a_jump_and_no_network_is_asked(
    face: Audio2HeadFace,
) -> None:
    networks, turn, last = Networks(repaint=lambda row: face.source.picture), turn_of(SAID), 21
    speaking, states = speak(networks, face, turn, last, 1)
    asked = len(networks.asked)
    returning, more = speak(networks, face, turn, round(REST_TRANSITION_S * 25), 1, states[-1])
    assert {name for name, _ in networks.asked[asked:]} == {"audio2head_frame"}
    asked, begun = len(networks.asked), last + round(REST_TRANSITION_S * 25)
    at_rest, still = speak(networks, face, turn, 30, 4, more[-1])
    assert len(networks.asked) == asked
    assert still[-1].shown is None
    np.testing.assert_array_equal(at_rest, resting(face, begun, 30))
    pictures = np.concatenate([speaking, returning, at_rest]).astype(int)
    assert np.abs(np.diff(pictures, axis=0)).mean(axis=(1, 2, 3)).max() < 2.0


def test_it_leaves_rest_before_the_sound_at_an_even_pace(face: Audio2HeadFace) -> None:
    networks, turn = Networks(), turn_of(SAID)
    _, states = speak(networks, face, turn, 115, 1)
    presence = np.array([state.presence for state in states])
    assert presence[0] == presence[20] == presence[-1] == 1.0
    assert presence[60] == 0.0
    assert np.abs(np.diff(presence)).max() <= 0.04 / REST_TRANSITION_S + 1e-6
    points = networks.drawn()
    back = np.abs(points - face.rest.value).max(axis=(1, 2))
    quiet = np.flatnonzero(presence[: len(back)] < 0.3)
    assert back[quiet[0] : quiet[0] + 2].max() < 1e-6


def test_a_turn_that_begins_in_silence_begins_at_rest(face: Audio2HeadFace) -> None:
    networks = Networks()
    frames, states = speak(networks, face, turn_of(silence_in(hiss(5.0), 0.0, 4.0)), 4)
    assert not networks.asked
    assert (states[-1].presence, states[-1].shown, states[-1].track) == (0.0, None, None)
    np.testing.assert_array_equal(frames, resting(face, 0, 4))


def test_a_failed_request_leaves_the_state_as_it_was(face: Audio2HeadFace) -> None:
    turn = skip(turn_of(hiss(4.0)), 40)
    _, states = speak(Networks(), face, turn, 4)
    windows, kept = turn.windows(SPEC, 8), states[-1]

    async def failing(model: str, inputs: Tensors) -> dict[str, Any]:
        if model == "audio2head_key_points":
            raise LipSyncError(LipSyncErrorCode.TIMEOUT, "late")
        return await Networks().infer(model, inputs)

    with pytest.raises(LipSyncError, match="late"):
        asyncio.run(Audio2Head().generate(failing, windows, face, kept))
    again, once_more = Networks(), Networks()
    for networks in (again, once_more):
        asyncio.run(Audio2Head().generate(networks.infer, windows, face, kept))
    np.testing.assert_array_equal(again.drawn(), once_more.drawn())


@pytest.mark.parametrize("size", [128, 256, 512])
@pytest.mark.parametrize("photo", [demo_face, small_face])
def test_a_picture_that_did_not_move_goes_back_without_a_seam(
    photo: Callable[[], FaceModel], size: int
) -> None:
    face = prepared(photo(), size)
    frames, _ = speak(
        Networks(repaint=lambda row: face.source.picture), face, turn_of(hiss(0.4)), 1
    )
    assert frames.shape == (1, size, size, 3)
    assert np.abs(frames[0].astype(int) - face.pictures.head.at_rest()).mean() < 2.5


def test_a_small_head_moves_inside_its_square_alone_and_fades_toward_the_edge() -> None:
    face = prepared(small_face())
    black, _ = speak(Networks(), face, turn_of(hiss(0.4)), 1)
    still, inside = resting(face, 0, 1)[0], np.zeros((256, 256), bool)
    face.pictures.square.of(inside)[:] = True
    np.testing.assert_array_equal(black[0][~inside], still[~inside])
    square = face.pictures.square.of(black[0])
    assert not square[len(square) // 2, len(square) // 2].any()
    assert np.abs(square[0].astype(int) - face.pictures.square.of(still)[0]).max() < 12


def test_the_encoding_is_the_same_for_every_size_and_every_probe_fits_its_network(
    face: Audio2HeadFace,
) -> None:
    adapter = Audio2Head()
    assert isinstance(adapter, EncodesFace)
    np.testing.assert_array_equal(
        adapter.prepare(demo_face(), 512).source, adapter.prepare(demo_face(), 128).source
    )
    assert face.nbytes >= face.pictures.head.nbytes
    assert set(adapter.probe_inputs()) == set(SPEC.triton_models)
    for model, inputs in adapter.probe_inputs().items():
        contract(model).check(inputs)


def test_landmarks_without_a_face_are_refused_with_advice() -> None:
    flat = dataclasses.replace(demo_face(), keypoints=tuple(Keypoint(5.0, 5.0) for _ in range(478)))
    with pytest.raises(LipSyncError, match="enrol another photo") as raised:
        Audio2Head().prepare(flat, 256)
    assert raised.value.code is LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE
