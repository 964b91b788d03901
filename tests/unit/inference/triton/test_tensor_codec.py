"""Tensors become messages and come back, through bytes or through a slot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from orchestrator.inference.model_contract import ModelContract, TensorContract
from orchestrator.inference.triton.shared_memory_ring import Slot
from orchestrator.inference.triton.tensor_codec import decode, encode

CONTRACT = ModelContract(
    name="net",
    backend="python",
    max_batch_size=8,
    inputs=(TensorContract("small", "FP32", (3,)), TensorContract("large", "UINT8", (-1,))),
    outputs=(
        TensorContract("picture", "UINT8", (-1, -1, 3)),
        TensorContract("score", "FP32", (1,)),
    ),
    instances=1,
    folder=Path("net"),
)
INPUTS = {
    "small": np.arange(6, dtype=np.float32).reshape(2, 3),
    "large": np.arange(2 * 20_000, dtype=np.uint8).reshape(2, -1),
}


def slot(nbytes: int) -> Slot:
    return Slot(offset=8192, view=memoryview(bytearray(nbytes)))


def answer(picture: np.ndarray, *, shared: bool) -> Any:
    message = service_pb2.ModelInferResponse()
    message.outputs.add(name="picture", datatype="UINT8", shape=picture.shape)
    message.outputs.add(name="score", datatype="FP32", shape=(2, 1))
    message.raw_output_contents.extend(
        [b"" if shared else picture.tobytes(), np.float32([1, 2]).tobytes()]
    )
    return message


def test_without_a_slot_every_input_is_in_the_message_in_order() -> None:
    request, offsets = encode(CONTRACT, INPUTS, 2, None, "")
    assert [len(raw) for raw in request.raw_input_contents] == [24, 40_000]
    assert [list(tensor.shape) for tensor in request.inputs] == [[2, 3], [2, 20_000]]
    assert not request.outputs and not offsets


def test_large_tensors_go_into_the_slot_and_small_ones_into_the_message() -> None:
    lent = slot(1 << 20)
    request, offsets = encode(CONTRACT, INPUTS, 2, lent, "region")
    assert [len(raw) for raw in request.raw_input_contents] == [24]
    assert bytes(lent.view[:40_000]) == INPUTS["large"].tobytes()
    assert request.inputs[1].parameters["shared_memory_offset"].int64_param == 8192
    assert [output.name for output in request.outputs] == ["picture", "score"]
    place = request.outputs[0].parameters
    assert place["shared_memory_offset"].int64_param == 8192 + offsets["picture"]
    assert offsets["picture"] >= 40_000
    assert offsets["picture"] + place["shared_memory_byte_size"].int64_param <= 1 << 20
    assert "shared_memory_region" not in request.outputs[1].parameters


@pytest.mark.parametrize("shared", [True, False], ids=["slot", "bytes"])
def test_outputs_are_copies_that_may_be_written(shared: bool) -> None:
    picture = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    lent = slot(4096)
    lent.view[64 : 64 + picture.nbytes] = picture.tobytes()
    outputs = decode(
        answer(picture, shared=shared), lent if shared else None, {"picture": 64} if shared else {}
    )
    lent.view[:] = bytes(4096)
    np.testing.assert_array_equal(outputs["picture"], picture)
    assert outputs["score"].tolist() == [[1], [2]]
    outputs["picture"][:] = 0


def test_an_answer_without_content_is_not_taken_for_pictures() -> None:
    with pytest.raises(ValueError, match="buffer"):
        decode(answer(np.zeros((2, 4, 4, 3), np.uint8), shared=True), None, {})
