"""Paints pictures of the asked size after the asked time; refuses side 13 as the renderer refuses
an unknown face.
"""

import time

import numpy as np
import triton_python_backend_utils as pb_utils

from orchestrator.core.dlpack import to_tensor


class TritonPythonModel:
    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        side = np.from_dlpack(pb_utils.get_input_tensor_by_name(request, "side"))
        time.sleep(
            float(np.from_dlpack(pb_utils.get_input_tensor_by_name(request, "sleep_ms")).max())
            / 1000
        )
        if side[0, 0] == 13:
            error = pb_utils.TritonError("unknown face 00ff", pb_utils.TritonError.NOT_FOUND)
            return pb_utils.InferenceResponse(error=error)
        blob = pb_utils.get_input_tensor_by_name(request, "blob")
        total = (
            np.zeros((len(side), 1))
            if blob is None
            else np.from_dlpack(blob).sum(axis=1, keepdims=True)
        )
        shape = (len(side), int(side[0, 0]), int(side[0, 0]), 3)
        frames = (np.arange(np.prod(shape)) % 251).astype(np.uint8).reshape(shape)
        outputs = [
            to_tensor(pb_utils, "frames", frames),
            to_tensor(pb_utils, "blob_sum", total.astype(np.float32)),
        ]
        return pb_utils.InferenceResponse(outputs)
