"""What is exported of Audio2Head is what its `config.pbtxt` files promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; it comes with the extra 'export'")

from export.networks.audio2head.onnx import graph_exports  # noqa: E402
from export.networks.audio2head.pipeline import NETWORKS, Audio2Head  # noqa: E402
from orchestrator.inference.repository import read_repository  # noqa: E402

REPOSITORY = Path(__file__).parents[4] / "model_repository"


def test_audio2head_s_graphs_are_what_the_configurations_promise() -> None:
    with torch.device("meta"):
        networks = Audio2Head(**{name: build() for name, build in NETWORKS.items()})  # type: ignore[arg-type]
    contracts = read_repository(REPOSITORY).models
    for export in graph_exports(networks, batch=1):
        contract = contracts[export.name]
        assert [tensor.name for tensor in contract.inputs] == list(export.inputs)
        assert [tensor.name for tensor in contract.outputs] == list(export.outputs)
        assert contract.check({name: np.asarray(tensor) for name, tensor in export.inputs.items()}) == 1
