"""Conversion of tensors to and from Triton's gRPC messages, as bytes or in shared memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from orchestrator.inference import Tensors
from orchestrator.inference.model_contract import DATATYPES, ModelContract
from orchestrator.inference.triton.shared_memory_ring import Slot

MIN_SHARED_BYTES: Final = 16 << 10
"""Size from which a tensor uses shared memory.

Below it the parameters cost as much as the copy, so it travels in the message.
"""

ALIGNMENT: Final = 64
"""Tensors in a slot start on cache lines."""


def encode(
    contract: ModelContract, inputs: Tensors, batch: int, slot: Slot | None, region: str
) -> tuple[Any, dict[str, int]]:
    """Build a `ModelInferRequest`, and the offset in the slot where each output is expected."""
    request = service_pb2.ModelInferRequest(model_name=contract.name)
    writer = _SlotWriter(slot, region)
    datatypes = {tensor.name: tensor.datatype for tensor in contract.inputs}
    for name, array in inputs.items():
        tensor = request.inputs.add(name=name, datatype=datatypes[name], shape=array.shape)
        if not writer.put(tensor, array):
            request.raw_input_contents.append(array.tobytes())
    offsets = writer.offer(request, _sizes(contract, batch))
    if offsets:  # a server that is sent a list of outputs omits all others
        for output in contract.outputs:
            if output.name not in offsets:
                request.outputs.add(name=output.name)
    return request, offsets


def worth_sharing(contract: ModelContract, inputs: Tensors, batch: int) -> int:
    """Bytes of shared memory that a request could use, as far as its answer's size is known."""
    sizes = [array.nbytes for array in inputs.values()] + [
        size or 0 for size in _sizes(contract, batch).values()
    ]
    return sum(size + ALIGNMENT for size in sizes if size >= MIN_SHARED_BYTES)


def decode(answer: Any, slot: Slot | None, offsets: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """The outputs as copies: the slot is lent to another request right after."""
    outputs: dict[str, NDArray[Any]] = {}
    raw = iter(answer.raw_output_contents)
    for tensor in answer.outputs:
        source: Any = next(raw, b"")  # empty for outputs in shared memory
        offset = 0
        if slot is not None and tensor.name in offsets:
            source, offset = slot.view, offsets[tensor.name]
        dtype = DATATYPES[tensor.datatype]
        count = math.prod(tensor.shape)
        outputs[tensor.name] = (
            np.frombuffer(source, dtype, count, offset).reshape(tuple(tensor.shape)).copy()
        )
    return outputs


def _sizes(contract: ModelContract, batch: int) -> dict[str, int | None]:
    """Outputs that are worth sharing, with their size where it is known before the answer."""
    sizes = {tensor.name: tensor.bytes_for(batch) for tensor in contract.outputs}
    return {name: size for name, size in sizes.items() if size is None or size >= MIN_SHARED_BYTES}


class _SlotWriter:
    """Lays inputs and then outputs one after another into a slot."""

    def __init__(self, slot: Slot | None, region: str) -> None:
        self._slot, self._region, self._used = slot, region, 0

    def put(self, tensor: Any, array: NDArray[Any]) -> bool:
        """Copy a large input into the slot; False if it has to travel in the message."""
        if self._slot is None or array.nbytes < MIN_SHARED_BYTES or array.nbytes > self._left:
            return False
        target = np.frombuffer(self._slot.view, array.dtype, array.size, self._used)
        np.copyto(target.reshape(array.shape), array)
        self._refer(tensor, self._used, array.nbytes)
        self._advance(array.nbytes)
        return True

    def offer(self, request: Any, sizes: Mapping[str, int | None]) -> dict[str, int]:
        """Assign outputs their places; those of unknown size share the remaining space."""
        known = sum(size for size in sizes.values() if size is not None)
        unknown = sum(size is None for size in sizes.values())
        if self._slot is None or not sizes or known + len(sizes) * ALIGNMENT > self._left:
            return {}
        share = (self._left - known - len(sizes) * ALIGNMENT) // max(unknown, 1)
        offsets: dict[str, int] = {}
        for name, size in sizes.items():
            offsets[name] = self._used
            nbytes = share if size is None else size
            self._refer(request.outputs.add(name=name), self._used, nbytes)
            self._advance(nbytes)
        return offsets

    @property
    def _left(self) -> int:
        return 0 if self._slot is None else len(self._slot.view) - self._used

    def _advance(self, nbytes: int) -> None:
        self._used += -(-nbytes // ALIGNMENT) * ALIGNMENT

    def _refer(self, tensor: Any, offset: int, nbytes: int) -> None:
        assert self._slot is not None
        tensor.parameters["shared_memory_region"].string_param = self._region
        tensor.parameters["shared_memory_offset"].int64_param = self._slot.offset + offset
        tensor.parameters["shared_memory_byte_size"].int64_param = nbytes
