"""What is exported of SadTalker is what its `config.pbtxt` files promise."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; it comes with the extra 'export'")

from export.networks.sadtalker.catalogue import NETWORKS  # noqa: E402
from export.networks.sadtalker.graphs import fold_spectral_norms  # noqa: E402
from export.networks.sadtalker.onnx import graph_exports  # noqa: E402
from orchestrator.inference.repository import read_repository  # noqa: E402

REPOSITORY = Path(__file__).parents[4] / "model_repository"


def test_sadtalker_s_graphs_are_what_the_configurations_promise() -> None:
    with torch.device("meta"):
        networks = {name: make().eval() for name, make in NETWORKS.items()}
        fold_spectral_norms(networks["generator"])  # type: ignore[arg-type]
    contracts = read_repository(REPOSITORY).models
    for export in graph_exports(networks, batch=2):
        outputs = export.module(*(tensor.to("meta") for tensor in export.inputs.values()))
        results = dict(zip(export.outputs, outputs if isinstance(outputs, tuple) else (outputs,), strict=True))
        contract = contracts[export.name]
        for promised, tensors in ((contract.inputs, export.inputs), (contract.outputs, results)):
            assert [tensor.name for tensor in promised] == list(tensors)
            for tensor in promised:
                actual = tensors[tensor.name]
                assert str(actual.dtype) == f"torch.{tensor.dtype}", tensor.name
                free = export.dynamic_axes[tensor.name]
                assert tensor.dims == tuple(-1 if axis in free else size for axis, size in enumerate(actual.shape) if axis)
