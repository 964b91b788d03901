"""Contract of adapters, servers and tests: the `config.pbtxt` files of a model repository."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from orchestrator.inference import ContractError

DATATYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
}
"""numpy types of Triton's datatypes.

Strings and bfloat16 have no fixed numpy layout, and no model here uses them.
"""

MODEL_FILES: Final = {"onnxruntime": "model.onnx", "python": "model.py", "tensorrt": "model.plan"}
"""File of a version folder that a model needs to be loaded, by backend."""


@dataclass(frozen=True, slots=True)
class TensorContract:
    """One input or output; `dims` leaves the batch axis out, -1 is any length."""

    name: str
    datatype: str
    dims: tuple[int, ...]
    optional: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """numpy type of its elements."""
        return DATATYPES[self.datatype]

    def bytes_for(self, batch: int) -> int | None:
        """Size of a batch in bytes; None where the shape is known from the answer only."""
        if any(dim < 0 for dim in self.dims):
            return None
        return batch * math.prod(self.dims) * self.dtype.itemsize

    def check(self, array: NDArray[Any]) -> None:
        """Raise `ContractError` unless `array` is `[batch, *dims]` of the right type."""
        shape = array.shape[1:]
        fits = len(shape) == len(self.dims) and all(
            want in (-1, got) for want, got in zip(self.dims, shape, strict=True)
        )
        if array.ndim == 0 or not fits:
            raise ContractError(
                f"{self.name}: "
                f"shape {array.shape}, expected [batch, {', '.join(map(str, self.dims))}]"
            )
        if array.dtype != self.dtype:
            raise ContractError(f"{self.name}: {array.dtype}, expected {self.dtype}")


@dataclass(frozen=True, slots=True)
class ModelContract:
    """Interface of one model: the content of its folder's `config.pbtxt`."""

    name: str
    backend: str
    max_batch_size: int
    inputs: tuple[TensorContract, ...]
    outputs: tuple[TensorContract, ...]
    instances: int
    folder: Path
    steps: tuple[str, ...] = ()
    """Member models of an ensemble in their order; empty for other models."""

    @property
    def version_folder(self) -> Path:
        """Folder of the highest version, the one that Triton serves."""
        versions = [
            entry for entry in self.folder.iterdir() if entry.is_dir() and entry.name.isdecimal()
        ]
        return max(versions, key=lambda entry: int(entry.name), default=self.folder / "1")

    @property
    def file(self) -> Path:
        """Network or program of the served version, also if absent; an ensemble's configuration."""
        if self.steps:
            return self.folder / "config.pbtxt"
        return self.version_folder / MODEL_FILES.get(self.backend, "model.onnx")

    @property
    def answers_vary(self) -> bool:
        """True if an output's size is known from the answer only."""
        return any(dim < 0 for tensor in self.outputs for dim in tensor.dims)

    @property
    def present(self) -> bool:
        """True if the model can be loaded; exported models are built by the user."""
        return self.file.is_file()

    def check(self, inputs: Mapping[str, NDArray[Any]]) -> int:
        """Return the batch size of `inputs`; raises `ContractError` if they break the contract."""
        known = {tensor.name: tensor for tensor in self.inputs}
        missing = [
            tensor.name
            for tensor in self.inputs
            if not tensor.optional and tensor.name not in inputs
        ]
        if missing or not inputs.keys() <= known.keys():
            raise ContractError(f"{self.name} got {sorted(inputs)}, expected {sorted(known)}")
        for name, array in inputs.items():
            known[name].check(array)
        batches = {len(array) for array in inputs.values()}
        if len(batches) != 1 or not 1 <= max(batches) <= self.max_batch_size:
            raise ContractError(
                f"{self.name}: "
                f"expected one batch size of 1 to {self.max_batch_size}, got {sorted(batches)}"
            )
        return batches.pop()


@dataclass(frozen=True, slots=True)
class Repository:
    """All models that have a `config.pbtxt`."""

    path: Path
    models: Mapping[str, ModelContract]

    def present(self) -> tuple[str, ...]:
        """Names of the models whose files are present."""
        return tuple(name for name, model in self.models.items() if model.present)


def read_repository(path: Path) -> Repository:
    """Read every model folder under `path`.

    Raises `ContractError` with the name of a file that cannot be read.
    """
    configs = sorted(path.glob("*/config.pbtxt"))
    return Repository(path, {config.parent.name: read_model(config) for config in configs})


def read_model(config: Path) -> ModelContract:
    """Read one `config.pbtxt`."""
    try:
        message = text_format.Parse(config.read_text(), model_config_pb2.ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError, OSError) as error:
        raise ContractError(f"{config}: {error}") from error
    if message.name != config.parent.name or message.max_batch_size < 1:
        raise ContractError(
            f"{config}: set `name` to the folder's name, and `max_batch_size` to 1 or more"
        )
    try:
        inputs = tuple(_tensor(each, optional=each.optional) for each in message.input)
        outputs = tuple(_tensor(each) for each in message.output)
    except ContractError as error:
        raise ContractError(f"{config}: {error}") from None
    return ModelContract(
        name=message.name,
        backend=message.backend,
        max_batch_size=message.max_batch_size,
        inputs=inputs,
        outputs=outputs,
        instances=sum(group.count for group in message.instance_group) or 1,
        folder=config.parent,
        steps=tuple(step.model_name for step in message.ensemble_scheduling.step),
    )


def _tensor(message: Any, *, optional: bool = False) -> TensorContract:
    datatype = model_config_pb2.DataType.Name(message.data_type).removeprefix("TYPE_")
    if datatype not in DATATYPES:
        raise ContractError(f"{message.name}: datatype {datatype} is not supported")
    return TensorContract(message.name, datatype, tuple(message.dims), optional)
