"""Triton Python backend that runs `model.onnx` with ONNX Runtime.

One `config.pbtxt` thus serves on a laptop and in NVIDIA's container. Triton finds this file as the
backend named `onnxruntime` and runs it in processes of the server.

Tensors cross by DLPack: with numpy 2 this server's `as_numpy()` and `Tensor(name, array)` return
garbage with status OK.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

from orchestrator.core.dlpack import to_tensor

LONG_RUN_S = 0.05
"""CPU time of a run beside which returning memory to the system and allocating it again is free."""

SHRINK = "memory.enable_memory_arena_shrinkage", "cpu:0"


class TritonPythonModel:
    """One instance of one model; Triton calls `execute` with the requests of a dynamic batch."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Keep the shipped configurations: they are complete."""
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Open the network of the version to serve."""
        config = json.loads(args["model_config"])
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = (
            1  # instances are the parallelism
        )
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._run_options: Any = None
        _give_back_freed_memory()  # reading and optimising the graph took half as much again

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run all requests as one batch.

        If that fails each request runs alone, so that a bad one cannot fail the others.
        """
        feeds = [self._read(request) for request in requests]
        try:
            return self._answers(feeds)
        except Exception as error:  # noqa: BLE001 - the edge of the backend: it fails the request
            if len(feeds) == 1:
                return [pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))]
        return [answer for request in requests for answer in self.execute([request])]

    def _read(self, request: Any) -> dict[str, Any]:
        return {
            name: np.from_dlpack(pb_utils.get_input_tensor_by_name(request, name))
            for name in self._inputs
        }

    def _answers(self, feeds: list[dict[str, Any]]) -> list[Any]:
        # most are single, and joining and splitting costs a fifth of a small network's time
        if len(feeds) == 1:
            return [_response(self._outputs, self._run(feeds[0]))]
        batch = {name: np.concatenate([feed[name] for feed in feeds]) for name in self._inputs}
        results = self._run(batch)
        ends = np.cumsum([len(feed[self._inputs[0]]) for feed in feeds])[:-1]
        parts = zip(*(np.split(result, ends) for result in results), strict=True)
        return [_response(self._outputs, part) for part in parts]

    def _run(self, batch: dict[str, Any]) -> Any:
        """Run one batch, and return freed memory to the system after a long run.

        A renderer's intermediate images take as much memory as its weights.
        """
        began = time.thread_time()
        results = self._session.run(self._outputs, batch, self._run_options)
        if self._run_options is None and time.thread_time() - began > LONG_RUN_S:
            self._run_options = ort.RunOptions()
            self._run_options.add_run_config_entry(*SHRINK)
        return results


def _response(names: list[str], arrays: Any) -> Any:
    """Build the response of one request.

    ONNX Runtime's arrays, and their slices along the batch, are contiguous and writable, as DLPack
    requires.
    """
    return pb_utils.InferenceResponse(
        [to_tensor(pb_utils, name, array) for name, array in zip(names, arrays, strict=True)]
    )


def _give_back_freed_memory() -> None:
    with contextlib.suppress(AttributeError):  # not the GNU C library
        ctypes.CDLL(None).malloc_trim(0)
