"""Run a Python-backend model in this process, with a stand-in for Triton's `pb_utils`.

It provides only what models of this repository use; a model that needs more of Triton fails when it
is opened.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Final

import numpy as np
from grpc import StatusCode
from numpy.typing import NDArray

from orchestrator.inference import Tensors
from orchestrator.inference.model_contract import ModelContract
from orchestrator.inference.triton.status_codes import error_of

PB_UTILS: Final = "triton_python_backend_utils"

CPU: Final = (1, 0)
"""DLPack's device type and number."""


class _Capsule:
    """A DLPack capsule as an object with the methods that numpy calls."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU


class Tensor:
    """A named array; models exchange it by DLPack, as with the server itself."""

    def __init__(self, name: str, array: NDArray[Any]) -> None:
        self._name, self._array = name, array

    def name(self) -> str:
        """Name in `config.pbtxt`."""
        return self._name

    @classmethod
    def from_dlpack(cls, name: str, capsule: Any) -> Tensor:
        """Take over an array without a copy.

        Raises `TritonModelException`, as the server does, where it is not contiguous.
        """
        array = np.from_dlpack(_Capsule(capsule))
        if not array.flags.c_contiguous:
            raise TritonModelException(
                f"{name}: DLPack tensors have to be contiguous; pass numpy.ascontiguousarray(array)"
            )
        return cls(name, array)

    def __dlpack__(self, **options: Any) -> Any:
        """Export the array itself, not a copy."""
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Device of the array."""
        return CPU

    def as_numpy(self) -> NDArray[Any]:
        """The array itself, not a copy."""
        return self._array


class TritonError:
    """Error of one request; the codes are those that models here use."""

    INTERNAL = StatusCode.INTERNAL
    NOT_FOUND = StatusCode.NOT_FOUND
    INVALID_ARG = StatusCode.INVALID_ARGUMENT
    UNAVAILABLE = StatusCode.UNAVAILABLE

    def __init__(self, message: str, code: StatusCode = StatusCode.INTERNAL) -> None:
        self._message, self._code = message, code

    def message(self) -> str:
        """Text for people."""
        return self._message

    def code(self) -> StatusCode:
        """gRPC status that Triton would answer with."""
        return self._code


class TritonModelException(Exception):  # noqa: N818 - Triton's name
    """Raised by a model that cannot work."""


class InferenceRequest:
    """Inputs of one request."""

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        self._inputs = tuple(inputs)

    def inputs(self) -> tuple[Tensor, ...]:
        """Inputs in the order in which they were sent."""
        return self._inputs


class InferenceResponse:
    """Outputs of one request, or its error."""

    def __init__(
        self, output_tensors: Sequence[Tensor] = (), error: TritonError | None = None
    ) -> None:
        self._outputs, self._error = tuple(output_tensors), error

    def output_tensors(self) -> tuple[Tensor, ...]:
        """Output tensors; empty in case of an error."""
        return self._outputs

    def error(self) -> TritonError | None:
        """Error of the request, or None."""
        return self._error


def get_input_tensor_by_name(request: InferenceRequest, name: str) -> Tensor | None:
    """The input of that name; None where an optional input was not sent."""
    return next((tensor for tensor in request.inputs() if tensor.name() == name), None)


class PythonModel:
    """One instance of `model.py`; not safe to call from two threads at once."""

    def __init__(self, contract: ModelContract) -> None:
        self._contract = contract
        self._model = _import_model(contract).TritonPythonModel()
        if hasattr(self._model, "initialize"):
            self._model.initialize(_arguments(contract))

    def run(self, inputs: Tensors) -> dict[str, NDArray[Any]]:
        """Run one request; raises the error that a server would cause."""
        request = InferenceRequest([Tensor(name, array) for name, array in inputs.items()])
        (response,) = self._model.execute([request])
        error = response.error()
        if error is not None:
            raise error_of(self._contract.name, error.code(), error.message())
        return {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}


def _import_model(contract: ModelContract) -> Any:
    sys.modules.setdefault(PB_UTILS, _stand_in())
    spec = importlib.util.spec_from_file_location(
        f"model_repository_{contract.name}", contract.file
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _stand_in() -> ModuleType:
    module = ModuleType(PB_UTILS)
    for each in (
        Tensor,
        TritonError,
        TritonModelException,
        InferenceRequest,
        InferenceResponse,
        get_input_tensor_by_name,
    ):
        setattr(module, each.__name__, each)
    return module


def _arguments(contract: ModelContract) -> dict[str, str]:
    config = {
        "name": contract.name,
        "max_batch_size": contract.max_batch_size,
        "input": [
            {"name": each.name, "data_type": f"TYPE_{each.datatype}", "dims": list(each.dims)}
            for each in contract.inputs
        ],
        "output": [
            {"name": each.name, "data_type": f"TYPE_{each.datatype}", "dims": list(each.dims)}
            for each in contract.outputs
        ],
    }
    return {
        "model_config": json.dumps(config),
        "model_name": contract.name,
        "model_version": contract.version_folder.name,
        "model_repository": str(contract.folder),
        "model_instance_name": f"{contract.name}_0_0",
        "model_instance_kind": "CPU",
        "model_instance_device_id": "0",
    }
