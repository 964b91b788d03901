"""A `config.pbtxt` holds three things together: the exported network, the adapter's tensors, and
the live server.

Models and networks are found in `ADAPTERS` and in `model_repository`: a new one is held to its
contract before anyone writes a test for it.
"""

from __future__ import annotations

import asyncio
import importlib.util
import re
from collections.abc import AsyncIterator
from pathlib import Path

import onnxruntime
import pytest
import pytest_asyncio
from seeded_models import BUILT_IN, SeededRepository
from tritonclient.grpc import service_pb2, service_pb2_grpc

from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.core.types import LipSyncModel
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.model_contract import ModelContract, TensorContract, read_repository
from orchestrator.inference.triton.connection import open_channel
from orchestrator.inference.triton.inference import TritonInference
from orchestrator.models import ADAPTERS
from orchestrator.models.base import EncodesFace

SHIPPED = read_repository(MODEL_REPOSITORY)
CONTRACTS = SHIPPED.models

LIGHT = {
    "wav2lip": ("wav2lip",),
    "sadtalker": ("sadtalker_expression", "sadtalker_pose", "sadtalker_key_points"),
    "audio2head": ("audio2head_pose",),
    "tpsm-neural": ("tpsm_neural_key_points", "tpsm_neural_source"),
}
"""Public networks that are exported in seconds, by the exporter's name; the exporter itself holds
every network to its contract.
"""

DATATYPES = {
    "tensor(float)": "FP32",
    "tensor(float16)": "FP16",
    "tensor(uint8)": "UINT8",
    "tensor(int64)": "INT64",
    "tensor(bool)": "BOOL",
}
"""ONNX Runtime's names of types, and Triton's."""

ONNX = sorted(name for name, contract in CONTRACTS.items() if contract.backend == "onnxruntime")
LIVE = (*BUILT_IN, *(name for networks in LIGHT.values() for name in networks))
TORCH = importlib.util.find_spec("torch") is not None
ANSWER_S = 60.0


@pytest.fixture(scope="module")
def networks(seeded_repository: SeededRepository) -> dict[str, Path]:
    """Folders of the networks that a test may load; without torch the built-in ones alone."""
    folders = {name: SHIPPED.path / name for name in BUILT_IN}
    for model, names in LIGHT.items() if TORCH else ():
        repository = seeded_repository(model, *names)
        folders |= {name: repository / name for name in names}
    return folders


@pytest.fixture
def exported(request: pytest.FixtureRequest, network: str) -> Path:
    """The network's file: the repository's own where somebody exported it, else one of seeded
    weights.
    """
    if CONTRACTS[network].present:
        return CONTRACTS[network].file
    if network not in LIVE:
        pytest.skip(
            f"{network} is not exported here; tests/unit/export holds its graph to its "
            "configuration"
        )
    return _folder(network, request.getfixturevalue("networks")) / "1" / "model.onnx"


def _folder(network: str, networks: dict[str, Path]) -> Path:
    if network not in networks:
        pytest.skip(
            "torch is not installed: it exports the seeded networks and comes with the extra "
            "'export'"
        )
    return networks[network]


@pytest.mark.parametrize("network", ONNX)
def test_the_exported_network_has_the_tensors_of_its_configuration(
    network: str, exported: Path
) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(exported), options, providers=["CPUExecutionProvider"]
    )
    contract = CONTRACTS[network]
    for promised, found in (
        (contract.inputs, session.get_inputs()),
        (contract.outputs, session.get_outputs()),
    ):
        assert [_promised(tensor) for tensor in promised] == [_found(tensor) for tensor in found]


def _promised(tensor: TensorContract) -> tuple[object, ...]:
    return (tensor.name, tensor.datatype, -1, *tensor.dims)


def _found(tensor: onnxruntime.NodeArg) -> tuple[object, ...]:
    """Axes with a name are free."""
    return (
        tensor.name,
        DATATYPES[tensor.type],
        *(side if isinstance(side, int) else -1 for side in tensor.shape),
    )


@pytest.mark.parametrize("model", ADAPTERS, ids=str)
def test_an_adapter_asks_for_what_its_networks_promise(model: LipSyncModel) -> None:
    adapter = ADAPTERS[model]
    assert set(adapter.spec.triton_models) <= CONTRACTS.keys(), "a network without a config.pbtxt"
    probe = adapter.probe_inputs()
    assert probe.keys() == set(adapter.spec.triton_models), (
        "every network is asked whether it is back, and no other"
    )
    for network, inputs in probe.items():
        CONTRACTS[network].check(inputs)
    if isinstance(adapter, EncodesFace):
        assert set(adapter.face_models) <= set(adapter.spec.triton_models)


@pytest.mark.parametrize(
    "ensemble", [name for name, contract in CONTRACTS.items() if contract.steps]
)
def test_an_ensemble_saves_requests_to_models_of_the_repository(ensemble: str) -> None:
    (adapter,) = (adapter for adapter in ADAPTERS.values() if ensemble in adapter.spec.ensembles)
    assert CONTRACTS[ensemble].steps == adapter.spec.triton_models


@pytest.mark.parametrize(
    "network", [name for name, contract in CONTRACTS.items() if not contract.steps]
)
def test_a_configuration_keeps_the_rules_of_the_repository(network: str) -> None:
    text = CONTRACTS[network].folder.joinpath("config.pbtxt").read_text()
    assert "dynamic_batching" in text, "requests of several sessions are fused"
    for banned in ("queue_policy", "priority_levels", "sequence_batching"):
        assert banned not in text, f"{banned} is ruled out by model_repository/README.md"
    kinds = {"KIND_CPU"} if CONTRACTS[network].backend == "python" else set()
    assert set(re.findall(r"\bkind: (\w+)", text)) == kinds, (
        "networks run where the server has room, OpenCV on the CPU alone"
    )


@pytest.fixture(scope="module")
def light_repository(networks: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The light networks of every model."""
    repository = tmp_path_factory.mktemp("live")
    for name, folder in networks.items():
        (repository / name).symlink_to(folder)
    return repository


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def live(light_repository: Path, networks: dict[str, Path]) -> AsyncIterator[EmbeddedTriton]:
    """A server of its own: the other tests' has no public networks."""
    async with EmbeddedTriton(light_repository, tuple(networks)) as server:
        yield server


@pytest.mark.parametrize("network", LIVE)
async def test_the_live_server_says_what_the_configuration_says(
    network: str, live: EmbeddedTriton, networks: dict[str, Path]
) -> None:
    _folder(network, networks)
    assert live.has_ready(network), live.health()
    contract = CONTRACTS[network]
    async with open_channel(live.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        metadata = await stub.ModelMetadata(
            service_pb2.ModelMetadataRequest(name=network), timeout=ANSWER_S
        )
        config = (
            await stub.ModelConfig(service_pb2.ModelConfigRequest(name=network), timeout=ANSWER_S)
        ).config
    for promised, told in (
        (contract.inputs, metadata.inputs),
        (contract.outputs, metadata.outputs),
    ):
        assert [_promised(tensor) for tensor in promised] == [
            (tensor.name, tensor.datatype, *tensor.shape) for tensor in told
        ]
    assert (config.backend, config.max_batch_size) == (contract.backend, contract.max_batch_size)
    assert config.HasField("dynamic_batching")


@pytest.mark.parametrize("model", ADAPTERS, ids=str)
async def test_the_live_server_answers_what_the_adapter_asks(
    model: LipSyncModel, live: EmbeddedTriton, light_repository: Path, networks: dict[str, Path]
) -> None:
    asked = {
        network: inputs
        for network, inputs in ADAPTERS[model].probe_inputs().items()
        if network in networks
    }
    async with TritonInference([live], read_repository(light_repository)) as inference:
        for network, inputs in asked.items():
            answer = await inference.infer(
                network, inputs, deadline=asyncio.get_running_loop().time() + ANSWER_S
            )
            _keeps(CONTRACTS[network], answer, rows=len(next(iter(inputs.values()))))


def _keeps(contract: ModelContract, answer: dict[str, object], *, rows: int) -> None:
    assert answer.keys() == {tensor.name for tensor in contract.outputs}
    for tensor in contract.outputs:
        tensor.check(answer[tensor.name])
        assert len(answer[tensor.name]) == rows
