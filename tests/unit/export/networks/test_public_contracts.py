"""What is exported of the public models is what their `config.pbtxt` files promise, and seeded
weights follow upstream's records.
"""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from project_root import ROOT
from tritonclient.grpc import model_config_pb2

from orchestrator.core.paths import MODEL_REPOSITORY

torch = pytest.importorskip(
    "torch", reason="torch is not installed; it comes with the extra 'export'"
)

from export.base import ExportSpec, Graph, PublicNetwork  # noqa: E402
from export.command import MODELS, declarations  # noqa: E402
from export.seeded import seeded_state  # noqa: E402
from export.tensorrt_config import profile, read_profile, write_accelerated, write_engine  # noqa: E402
from orchestrator.inference.model_contract import read_model  # noqa: E402

RECORDS = {
    "wav2lip": "wav2lip",
    "sadtalker": "sadtalker",
    "audio2head": "audio2head",
    "tpsm-neural": "tpsm",
}
GRAPHS = [(model, graph) for model in MODELS for graph in declarations(model, "onnx").GRAPHS]


def networks(model: str) -> dict[str, PublicNetwork]:
    found: dict[str, PublicNetwork] = declarations(model, "sources").NETWORKS
    return found


@cache
def described(model: str, graph: Graph) -> ExportSpec:
    """The graph's declaration over networks without weights: shapes and types do not depend on
    them.
    """
    examples = torch.Generator().manual_seed(0)
    with torch.device("meta"), torch.no_grad():
        return graph.spec(
            {part: networks(model)[part].build().eval() for part in graph.parts}, 2, examples
        )


@pytest.mark.parametrize(("model", "graph"), GRAPHS, ids=[graph.name for _, graph in GRAPHS])
def test_a_configuration_names_the_tensors_of_its_graph(model: str, graph: Graph) -> None:
    contract, spec = (
        read_model(MODEL_REPOSITORY / graph.name / "config.pbtxt"),
        described(model, graph),
    )
    with torch.device("meta"), torch.no_grad():
        outputs = spec.module(*(tensor.to("meta") for tensor in spec.inputs.values()))
    results = dict(
        zip(spec.outputs, outputs if isinstance(outputs, tuple) else (outputs,), strict=True)
    )
    for promised, tensors in ((contract.inputs, spec.inputs), (contract.outputs, results)):
        assert [tensor.name for tensor in promised] == list(tensors)
        for tensor in promised:
            actual, free = tensors[tensor.name], spec.dynamic_axes[tensor.name]
            assert str(actual.dtype) == f"torch.{tensor.dtype}", tensor.name
            assert tensor.dims == tuple(
                -1 if axis in free else side for axis, side in enumerate(actual.shape) if axis
            ), tensor.name


@pytest.mark.parametrize(("model", "graph"), GRAPHS, ids=[graph.name for _, graph in GRAPHS])
def test_the_variants_for_tensorrt_serve_the_same_tensors_in_every_batch(
    model: str, graph: Graph, tmp_path: Path
) -> None:
    committed = MODEL_REPOSITORY / graph.name
    contract = read_model(committed / "config.pbtxt")
    folder = tmp_path / graph.name
    folder.mkdir()
    shutil.copyfile(committed / "config.pbtxt", folder / "config.pbtxt")
    shapes = profile(described(model, graph), contract.max_batch_size)
    accelerated, engine = write_accelerated(folder, shapes), write_engine(folder)
    assert (
        committed / "configs" / "tensorrt.pbtxt"
    ).read_text() == accelerated.read_text()  # as every export writes it
    plain, fast, plan = (parsed(path) for path in (folder / "config.pbtxt", accelerated, engine))
    assert read_profile(accelerated) == shapes
    assert all(
        (each.least[0], each.most[0]) == (1, contract.max_batch_size) for each in shapes.values()
    )
    assert plan.backend == "tensorrt"
    fast.ClearField("optimization")
    plan.backend = plain.backend
    assert fast == plan == plain


def parsed(config: Path) -> Any:
    return text_format.Parse(config.read_text(), model_config_pb2.ModelConfig())


@pytest.mark.parametrize("model", MODELS)
def test_seeded_weights_follow_the_rule_of_upstream_s_records(model: str) -> None:
    manifest: dict[str, Any] = json.loads(
        (ROOT / "tests" / "data" / "reference" / RECORDS[model] / "manifest.json").read_text()
    )
    assert networks(model).keys() == manifest["networks"].keys()
    for name, network in networks(model).items():
        recorded = manifest["networks"][name]
        assert network.gain == recorded["gain"], name
        assert network.constants == {
            key for key, spec in recorded["state"].items() if spec.get("constant")
        }, name
        assert network.gains == {
            key: spec["gain"] for key, spec in recorded["state"].items() if "gain" in spec
        }, name


def test_a_seeded_network_has_the_weights_of_the_records() -> None:
    from export.sources import seeded_networks

    recorded = json.loads(
        (ROOT / "tests" / "data" / "reference" / "tpsm" / "manifest.json").read_text()
    )["networks"]["avd_network"]
    filled = seeded_networks(networks("tpsm-neural"), ["avd_network"], seed=1)["avd_network"]
    for key, values in seeded_state(recorded["state"], seed=1, gain=recorded["gain"]).items():
        np.testing.assert_array_equal(filled.module.state_dict()[key].numpy(), values, err_msg=key)
    assert "seeded 1" in filled.label
    assert filled.provenance["seeded"] == 1
