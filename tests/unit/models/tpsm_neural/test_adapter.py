"""The neural model's adapter: driven by the built-in one's frames, relative to its resting face,
pasted back into them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from demo_face import demo_face, frame_windows, small_face
from project_root import ROOT

from export.reference import Reference
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.core.types import FaceModel, Keypoint, RgbImage
from orchestrator.inference import NotServed, Tensors
from orchestrator.inference.model_contract import read_model
from orchestrator.models.base import EncodesFace, FeatureWindows
from orchestrator.models.head_square import HeadSquare, head_square
from orchestrator.models.tpsm.adapter import Tpsm
from orchestrator.models.tpsm_neural.adapter import FEATURE_SHAPES, TpsmNeural
from orchestrator.models.tpsm_neural.face import (
    TpsmNeuralFace,
    TpsmNeuralPictures,
    feathered_square,
)
from orchestrator.rendering.face_maps import FaceMaps
from orchestrator.rendering.face_renderer import FaceRenderer
from orchestrator.rendering.motion import JAW, OPEN

RECORDS = ROOT / "tests" / "data" / "reference" / "tpsm"
SPEC = TpsmNeural.spec

POINTS = np.random.default_rng(1).uniform(-0.8, 0.8, (50, 2)).astype(np.float32)


def opening(rows: int) -> np.ndarray:
    """An open mouth at every step."""
    motion = np.zeros((rows, 16, 7), np.float32)
    motion[..., JAW], motion[..., OPEN] = 0.6, 0.8
    return motion


@dataclass
class Networks:
    """The built-in model as it is; the neural one answers the pictures it was driven with, or what
    a test wants.
    """

    repaint: Callable[[RgbImage], RgbImage] = lambda picture: picture
    points: np.ndarray = field(default_factory=lambda: POINTS)
    asked: list[tuple[str, Tensors]] = field(default_factory=list)
    renderers: dict[bytes, FaceRenderer] = field(default_factory=dict)

    async def infer(self, model: str, inputs: Tensors) -> dict[str, Any]:
        contract = read_model(MODEL_REPOSITORY / model / "config.pbtxt")
        contract.check(inputs)
        if contract.steps:
            raise NotServed(model)
        self.asked.append((model, inputs))
        if model == "audio2motion":
            return {"motion": opening(len(inputs["mel"]))}
        if model == "tpsm":
            renderer = self.renderers[inputs["face"][0].tobytes()]
            return {"frames": np.stack([renderer.draw(row) for row in inputs["motion"]])}
        if model == "tpsm_neural_key_points":
            return {"points": np.broadcast_to(self.points, (len(inputs["picture"]), 50, 2))}
        if model == "tpsm_neural_source":
            return {
                name: np.full((1, *shape), 0.5, np.float16)
                for name, shape in FEATURE_SHAPES.items()
            }
        driving = self.inputs_of("tpsm_neural_key_points")["picture"]
        assert inputs["driving_points"].shape == (1, len(driving), 50, 2)
        return {"frames": np.stack([self.repaint(picture) for picture in driving])[None]}

    def knows(self, face: TpsmNeuralPictures) -> Networks:
        for each in (face.shown, face.driver):
            self.renderers[each.digest.tobytes()] = FaceRenderer(
                FaceMaps.from_bytes(each.blob.tobytes())
            )
        return self

    def inputs_of(self, model: str) -> Tensors:
        """Of the model's last request."""
        return next(inputs for name, inputs in reversed(self.asked) if name == model)

    @property
    def models(self) -> list[str]:
        return [model for model, _ in self.asked]


def prepared(photo: FaceModel, size: int) -> TpsmNeuralFace:
    adapter, pictures = TpsmNeural(), TpsmNeural().prepare(photo, size)
    encodings = asyncio.run(adapter.encode(Networks().knows(pictures).infer, pictures))
    return adapter.with_encodings(pictures, encodings)


@pytest.fixture(scope="module")
def face() -> TpsmNeuralFace:
    return prepared(demo_face(), 256)


def draw(
    networks: Networks, windows: FeatureWindows, face: TpsmNeuralFace, state: Any = None
) -> tuple[np.ndarray, Any]:
    return asyncio.run(
        TpsmNeural().generate(networks.knows(face.pictures).infer, windows, face, state)
    )


def built_in(windows: FeatureWindows, face: TpsmNeuralFace) -> np.ndarray:
    networks = Networks().knows(face.pictures)
    return asyncio.run(Tpsm().generate(networks.infer, windows, face.pictures.shown, None))[0]


def test_a_network_that_changes_nothing_leaves_the_frames_of_the_built_in_model(
    face: TpsmNeuralFace,
) -> None:
    windows = frame_windows(SPEC, [False] * 4)
    frames, _ = draw(Networks(), windows, face)
    np.testing.assert_array_equal(frames, built_in(windows, face))


@pytest.mark.parametrize("size", [128, 512])
def test_at_other_sizes_only_the_resolution_of_the_head_changes(size: int) -> None:
    face, windows = prepared(demo_face(), size), frame_windows(SPEC, [False] * 2, first_frame=60)
    frames, _ = draw(Networks(), windows, face)
    assert frames.shape == (2, size, size, 3)
    assert np.abs(frames.astype(int) - built_in(windows, face)).mean() < 2.5


@pytest.mark.parametrize("size", [128, 256, 512])
def test_a_small_head_is_cut_out_and_goes_back_without_a_seam(size: int) -> None:
    face, windows = prepared(small_face(), size), frame_windows(SPEC, [False] * 4, first_frame=60)
    given = built_in(windows, face)
    same, _ = draw(Networks(), windows, face)
    black, _ = draw(Networks(repaint=np.zeros_like), windows, face)
    square, outside = face.pictures.square, np.ones((size, size), bool)
    square.of(outside)[:] = face.pictures.patch_weight == 0
    assert square.side < 200
    assert np.abs(same.astype(int) - given).mean() < 2.5
    np.testing.assert_array_equal(black[:, outside], given[:, outside])
    assert square.of(black[-1])[square.side * size // 512, square.side * size // 512].max() == 0
    rim = np.diff(
        (black[-1].astype(float).mean(axis=2) + 1.0) / (given[-1].astype(float).mean(axis=2) + 1.0),
        axis=1,
    )
    assert np.abs(rim).max() < 0.5


def test_the_network_sees_the_source_at_rest_and_the_driver_in_motion(face: TpsmNeuralFace) -> None:
    networks = Networks()
    draw(networks, frame_windows(SPEC, [False] * 3, first_frame=60), face)
    given = networks.inputs_of("tpsm_neural_frames")
    seen = networks.inputs_of("tpsm_neural_key_points")["picture"]
    rest = FaceRenderer(face.pictures.driver.maps).draw(np.zeros(11, np.float32))
    np.testing.assert_array_equal(face.pictures.rest, rest)
    assert np.abs(given["picture"][0].astype(int) - rest).mean() < 2.0
    mouth = np.s_[165:200, 105:155]
    assert np.abs(seen[:, *mouth].astype(int) - rest[mouth]).mean() > 5.0
    assert networks.models == [
        "audio2motion",
        "tpsm",
        "tpsm_neural_key_points",
        "tpsm_neural_frames",
    ]


def test_a_resting_driver_leaves_the_source_s_points(face: TpsmNeuralFace) -> None:
    """Whatever the two pictures differ in does not move the face."""
    source = replace(face, source_points=POINTS * np.float32(0.9), scale=0.9)
    networks = Networks()
    draw(networks, frame_windows(SPEC, [False]), source)
    np.testing.assert_allclose(
        networks.inputs_of("tpsm_neural_frames")["driving_points"][0, 0], POINTS * 0.9, atol=1e-6
    )


def test_relative_motion_is_upstream_s(face: TpsmNeuralFace) -> None:
    reference = Reference(RECORDS, seed=1)
    source = reference.inputs["kp_a"][0]
    initial = np.float32(0.7) * source + np.float32(0.05)
    driving = initial + np.float32(0.5) * reference.inputs["kp_offset"][0]
    features = {name: array[0] for name, array in face.tensors.items() if name in FEATURE_SHAPES}
    known = TpsmNeural().with_encodings(
        face.pictures, {"source_points": source, "rest_points": initial, **features}
    )
    networks = Networks(points=driving)
    draw(networks, frame_windows(SPEC, [False, False]), known)
    moved = networks.inputs_of("tpsm_neural_frames")["driving_points"]
    assert moved.shape == (1, 2, 50, 2)
    assert reference.error("relsyn.kp", moved[0, :1]) <= reference.tolerance("relsyn.kp")


def test_the_face_is_encoded_by_two_requests_and_as_declared() -> None:
    adapter = TpsmNeural()
    assert isinstance(adapter, EncodesFace)
    pictures = adapter.prepare(demo_face(), 256)
    networks = Networks()
    encodings = asyncio.run(adapter.encode(networks.infer, pictures))
    assert sorted(networks.models) == sorted(adapter.face_models)
    assert {name: (array.dtype.name, array.shape) for name, array in encodings.items()} == {
        name: (spec.dtype, spec.shape) for name, spec in adapter.encoding.arrays.items()
    }
    assert all(array.base is None for array in encodings.values())
    assert adapter.with_encodings(pictures, encodings).nbytes == pictures.nbytes


@pytest.mark.parametrize("sizes", [(128, 256), (256, 512)])
def test_the_encoding_is_the_same_for_every_size(sizes: tuple[int, int]) -> None:
    one, other = (TpsmNeural().prepare(demo_face(), size) for size in sizes)
    np.testing.assert_array_equal(one.source, other.source)
    np.testing.assert_array_equal(one.rest, other.rest)


def test_silence_is_the_built_in_model_s_resting_face_and_asks_no_network(
    face: TpsmNeuralFace,
) -> None:
    networks = Networks()
    windows = frame_windows(SPEC, [True] * 4, first_frame=9)
    frames, state = draw(networks, windows, face)
    np.testing.assert_array_equal(frames, built_in(windows, face))
    assert set(networks.models) == {"tpsm"}
    assert state is None


def test_only_spoken_frames_are_asked_for_and_the_last_one_fades_out(face: TpsmNeuralFace) -> None:
    networks = Networks(repaint=np.zeros_like)
    windows = frame_windows(SPEC, [False, True, True, False])
    frames, _ = draw(networks, windows, face)
    assert networks.inputs_of("tpsm_neural_key_points")["picture"].shape[0] == 2
    given = built_in(windows, face).astype(float)
    shown = 1.0 - frames[:, 100:150, 100:150].mean(axis=(1, 2, 3)) / given[
        :, 100:150, 100:150
    ].mean(axis=(1, 2, 3))
    assert shown == pytest.approx([0.4, 0.0, 0.0, 0.4], abs=0.02)


@pytest.mark.parametrize("chunks", [[1] * 6, [4, 2], [2, 2, 2]])
def test_any_chunking_draws_the_same_frames(face: TpsmNeuralFace, chunks: list[int]) -> None:
    silent = [False, False, False, True, True, False]

    def dimmed(picture: RgbImage) -> RgbImage:
        return picture // 2

    whole, _ = draw(Networks(repaint=dimmed), frame_windows(SPEC, silent), face)
    state, pieces, first = None, [], 0
    for count in chunks:
        windows = frame_windows(SPEC, silent[first : first + count], first)
        frames, state = draw(Networks(repaint=dimmed), windows, face, state)
        pieces.append(frames)
        first += count
    assert np.abs(np.concatenate(pieces).astype(int) - whole).max() <= 1


@pytest.mark.parametrize("frame", [0, 57, 10_000])
def test_it_can_begin_at_any_frame_of_a_turn(face: TpsmNeuralFace, frame: int) -> None:
    frames, state = draw(Networks(), frame_windows(SPEC, [False], first_frame=frame), face)
    later = frame_windows(SPEC, [True], first_frame=frame + 40)
    np.testing.assert_array_equal(draw(Networks(), later, face, state)[0], built_in(later, face))
    assert frames.shape == (1, 256, 256, 3)


def test_the_probe_is_valid_for_every_network() -> None:
    inputs_by_network = TpsmNeural().probe_inputs()
    assert inputs_by_network.keys() == set(SPEC.triton_models)
    for model, inputs in inputs_by_network.items():
        assert read_model(MODEL_REPOSITORY / model / "config.pbtxt").check(inputs) == 1


def test_the_look_ahead_is_the_driver_s() -> None:
    assert SPEC.look_ahead_ms == Tpsm.spec.look_ahead_ms


def test_key_points_that_span_nothing_are_told(face: TpsmNeuralFace) -> None:
    features = {name: array[0] for name, array in face.tensors.items() if name in FEATURE_SHAPES}
    flat = np.zeros((50, 2), np.float32)
    with pytest.raises(LipSyncError, match="enrol another photo") as caught:
        TpsmNeural().with_encodings(
            face.pictures, {"source_points": flat, "rest_points": flat, **features}
        )
    assert caught.value.code is LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE


def test_landmarks_without_a_face_are_told() -> None:
    photo = demo_face()
    away = replace(
        photo, keypoints=tuple(Keypoint(point.x + 5000, point.y) for point in photo.keypoints)
    )
    with pytest.raises(LipSyncError, match=r"cannot be used with tpsm-neural.*enrol") as caught:
        TpsmNeural().prepare(away, 256)
    assert caught.value.code is LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE


def mesh(length: float, top: tuple[float, float]) -> np.ndarray:
    """Points whose face is so long and begins there; as wide as three quarters of that."""
    points = np.tile(np.array([top[0], top[1] + length / 2]), (478, 1))
    points[10], points[152] = top, (top[0], top[1] + length)
    points[234, 0], points[454, 0] = top[0] - 0.375 * length, top[0] + 0.375 * length
    return points


@pytest.mark.parametrize(
    ("points", "square"),
    [
        (mesh(120, (128, 60)), HeadSquare(0, 0, 256)),
        (mesh(80, (128, 80)), HeadSquare(52, 40, 152)),
        (mesh(80, (30, 20)), HeadSquare(0, 0, 152)),
        (mesh(80, (230, 170)), HeadSquare(104, 104, 152)),
    ],
    ids=["whole", "inside", "upper left", "lower right"],
)
def test_the_square_holds_the_head_and_stays_in_the_picture(
    points: np.ndarray, square: HeadSquare
) -> None:
    assert head_square(points) == square


def test_edges_fade_without_a_step_inside_the_picture_or_everywhere() -> None:
    corner = HeadSquare(0, 0, 152)
    inside, everywhere = (
        feathered_square(corner, 256),
        feathered_square(corner, 256, everywhere=True),
    )
    assert feathered_square(HeadSquare(0, 0, 256), 256).min() == 1.0
    assert inside[0, 0] == inside[60, 0] == everywhere[60, 60] == 1.0
    assert (
        max(
            inside[-1].max(),
            inside[:, -1].max(),
            everywhere[0].max(),
            everywhere[:, 0].max(),
            everywhere[-1].max(),
        )
        < 0.01
    )
    assert max(np.abs(np.diff(weight, axis=0)).max() for weight in (inside, everywhere)) < 0.15
