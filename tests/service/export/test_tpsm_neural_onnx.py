"""TPSM's ONNX graphs against its modules, with seeded weights and at several batch sizes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="torch is not installed; it comes with the extra 'export'")

import onnxruntime  # noqa: E402

from export.networks.tpsm_neural import onnx  # noqa: E402
from export.networks.tpsm_neural.key_points import BackgroundPredictor  # noqa: E402
from export.networks.tpsm_neural.verification import Networks, fill_networks  # noqa: E402
from export.reference import Reference  # noqa: E402

RECORDS = Path(__file__).parents[2] / "data" / "reference" / "tpsm"


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(RECORDS, seed=1)


@pytest.fixture(scope="module")
def networks(reference: Reference) -> Networks:
    return fill_networks(reference)


class Graph:
    """The exported graph in ONNX Runtime, with one thread."""

    def __init__(self, export: onnx.OnnxExport, path: Path) -> None:
        self._export = export
        names = (*export.input_names, *export.output_names)
        axes = {name: {0: "batch", **export.free_axes.get(name, {})} for name in names}
        borders = {"input_names": export.input_names, "output_names": export.output_names, "dynamic_axes": axes}
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # newer versions of torch call this exporter outdated
            torch.onnx.export(export.module, export.inputs, path, opset_version=onnx.OPSET, dynamo=False, **borders)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])

    def compare(self, *inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """Outputs of the graph, after they were found near those of the module."""
        with torch.no_grad():
            wanted = self._export.module(*(torch.from_numpy(array) for array in inputs))
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        found: list[NDArray[Any]] = self._session.run(None, dict(zip(self._export.input_names, inputs, strict=True)))
        for name, module, graph, allowed in zip(self._export.output_names, wanted, found, self._export.tolerances, strict=True):
            assert module.shape == graph.shape, name
            assert np.abs(module.numpy().astype(np.float64) - graph).max() <= allowed, name
        return found


def pictures(reference: Reference, count: int) -> NDArray[np.uint8]:
    both = np.concatenate((reference.inputs["source"], reference.inputs["driving"])).transpose(0, 2, 3, 1)
    return np.resize((both * 255).astype(np.uint8), (count, *both.shape[1:]))


def test_key_points_and_background_equal_their_modules_at_any_batch(reference: Reference, networks: Networks, tmp_path: Path) -> None:
    key_points = Graph(onnx.key_points_export(networks.key_points), tmp_path / "key_points.onnx")
    background = Graph(onnx.background_export(reference.fill(BackgroundPredictor(), "bg_predictor")), tmp_path / "background.onnx")
    avd = Graph(onnx.avd_export(networks.avd), tmp_path / "avd.onnx")
    for batch in (1, 3, 8):
        picture = pictures(reference, batch)
        (points,) = key_points.compare(picture)
        background.compare(picture, picture[::-1].copy())
        avd.compare(points, points[::-1].copy())


def test_frames_from_encoded_sources_equal_the_modules(reference: Reference, networks: Networks, tmp_path: Path) -> None:
    source = Graph(onnx.source_export(networks.inpainting), tmp_path / "source.onnx")
    frames = Graph(onnx.frames_export(networks.dense_motion, networks.inpainting), tmp_path / "frames.onnx")
    picture, points = pictures(reference, 2), reference.inputs["kp_a"]
    driving = np.stack((points + reference.inputs["kp_offset"], points - reference.inputs["kp_offset"]), axis=1)
    features = source.compare(picture)
    (two_faces,) = frames.compare(picture, points, driving[:, :1].copy(), *features)
    (two_frames,) = frames.compare(picture[:1], points[:1], driving[:1], *(level[:1] for level in features))
    assert np.abs(two_faces[0, 0].astype(int) - two_frames[0, 0]).max() <= onnx.FRAME_TOLERANCE
