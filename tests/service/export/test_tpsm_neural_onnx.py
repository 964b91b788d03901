"""TPSM's frames from encoded sources: one chunk's frames and single frames of several faces are the
same pictures.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

torch = pytest.importorskip(
    "torch", reason="torch is not installed; it comes with the extra 'export'"
)
onnx = pytest.importorskip("onnx", reason="onnx is not installed; it comes with the extra 'export'")

from export.networks.tpsm_neural.onnx import FEATURES, FRAME_TOLERANCE, GRAPHS  # noqa: E402
from export.networks.tpsm_neural.sources import NETWORKS  # noqa: E402
from export.parity import compare, onnx_runner  # noqa: E402
from export.sources import seeded_networks  # noqa: E402
from export.tensorrt_rules import find_problems  # noqa: E402
from export.to_onnx import write_onnx  # noqa: E402


def test_frames_from_encoded_sources_equal_the_module_s_however_they_are_batched(
    tmp_path: Path,
) -> None:
    sessions = {}
    for graph in GRAPHS:
        if graph.name in ("tpsm_neural_source", "tpsm_neural_frames"):
            filled = seeded_networks(NETWORKS, graph.parts, seed=1)
            spec = graph.spec(
                {part: filled[part].module for part in graph.parts},
                2,
                torch.Generator().manual_seed(0),
            )
            path = tmp_path / f"{graph.name}.onnx"
            write_onnx(spec, path, {"weights": "seeded 1"})
            compare(spec, onnx_runner(path, list(spec.outputs)), (1,))
            assert find_problems(onnx.load(str(path))) == []
            sessions[graph.name] = onnxruntime.InferenceSession(
                str(path), providers=["CPUExecutionProvider"]
            )
    random = np.random.default_rng(1)
    pictures = (
        random.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
        .repeat(16, axis=1)
        .repeat(16, axis=2)
    )
    points = random.uniform(-0.8, 0.8, (2, 50, 2)).astype(np.float32)
    driving = (points[:, None] + random.uniform(-0.02, 0.02, (2, 2, 50, 2))).astype(np.float32)
    features = dict(
        zip(
            FEATURES,
            sessions["tpsm_neural_source"].run(list(FEATURES), {"picture": pictures}),
            strict=True,
        )
    )

    def frames(rows: slice, columns: slice) -> np.ndarray:
        levels = {name: level[rows] for name, level in features.items()}
        inputs = {
            "picture": pictures[rows],
            "source_points": points[rows],
            "driving_points": driving[rows, columns],
            **levels,
        }
        answer: np.ndarray = sessions["tpsm_neural_frames"].run(["frames"], inputs)[0]
        return answer

    one_of_each_face, chunk_of_one = (
        frames(slice(0, 2), slice(0, 1)),
        frames(slice(0, 1), slice(0, 2)),
    )
    assert one_of_each_face.shape == (2, 1, 256, 256, 3)
    assert chunk_of_one.shape == (1, 2, 256, 256, 3)
    assert np.abs(one_of_each_face[0, 0].astype(int) - chunk_of_one[0, 0]).max() <= FRAME_TOLERANCE
