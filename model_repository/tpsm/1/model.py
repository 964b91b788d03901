"""Triton Python-backend model of the face renderer in `orchestrator.rendering`.

Tensors cross by DLPack: with numpy 2 the embedded server's `as_numpy()` and `Tensor(name, array)`
return garbage with status OK.
"""

from __future__ import annotations

import ctypes

import cv2
import numpy as np
import triton_python_backend_utils as pb_utils

from orchestrator.core.dlpack import to_tensor
from orchestrator.rendering.map_files import open_map_files
from orchestrator.rendering.renderer_cache import RendererCache, UnknownFaceError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""glibc's `mallopt` parameters, from malloc.h."""

KEPT_BYTES = 32 << 20
"""The largest threshold that glibc takes; a request of 16 frames of 512 pixels needs 13 MB."""


class TritonPythonModel:
    """One instance of the renderer.

    It answers NOT_FOUND for a face whose maps none of the server's instances was sent.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Prepare the cache of faces; `args` is not used."""
        cv2.setNumThreads(1)
        _keep_freed_memory()
        self._renderers = RendererCache(files=open_map_files())

    def finalize(self) -> None:
        """Release the shared files when Triton unloads the model."""
        self._renderers.close()

    def execute(self, requests: list) -> list:
        """Answer every request; a bad one does not affect the others."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: pb_utils.InferenceRequest) -> pb_utils.InferenceResponse:
        motion, steps, moments, faces, maps = (
            _array(request, name) for name in ("motion", "steps", "moments", "face", "maps")
        )
        try:
            frames = (
                self._renderers.draw(motion, faces, maps)
                if steps is None
                else self._renderers.speak(steps, moments, faces)
            )
        except UnknownFaceError as error:
            return _refusal(str(error), pb_utils.TritonError.NOT_FOUND)
        except ValueError as error:
            return _refusal(str(error), pb_utils.TritonError.INVALID_ARG)
        return pb_utils.InferenceResponse([to_tensor(pb_utils, "frames", frames)])


def _array(request: pb_utils.InferenceRequest, name: str) -> np.ndarray | None:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return None if tensor is None else np.from_dlpack(tensor)


def _refusal(message: str, code: int) -> pb_utils.InferenceResponse:
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))


def _keep_freed_memory() -> None:
    """Raise glibc's thresholds so that freed frames stay with the process.

    Frames are allocated and freed by the half megabyte. Memory handed back to the kernel faults in
    again for each one: 80 faults, 0.15 ms.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
