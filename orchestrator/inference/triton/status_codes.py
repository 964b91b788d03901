"""Turns what a Triton answers into error codes: the one table of statuses (DESIGN 3,
ARCHITECTURE.md).
"""

from __future__ import annotations

import re
from typing import Final

from grpc import StatusCode

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.inference import InferenceError, NotCached

UNKNOWN_FACE: Final = "unknown face"
"""How the `tpsm` model starts its NOT_FOUND when it does not hold the maps of a face."""

ENSEMBLE: Final = re.compile(r"^in ensemble '[^']*', ")
"""What the server puts before the message of an ensemble's member."""

DEAD_INSTANCE: Final = "is not healthy"
"""In the message of every call to a backend process that died; the server never restarts it (2.51).
"""

LOST_REGION: Final = "Unable to find shared memory region"
"""A server that was restarted has forgotten the client's shared memory."""

SHORT_REGION: Final = "shared memory size specified with the request"
"""An output did not fit into the shared memory offered for it; the message goes on with the sizes. 
"""

CODES: Final[tuple[tuple[StatusCode, str, LipSyncErrorCode], ...]] = (
    # status, part of the message ("" is any), code: the first row that matches wins
    (StatusCode.DEADLINE_EXCEEDED, "", LipSyncErrorCode.TIMEOUT),
    (StatusCode.UNAVAILABLE, "Request timeout expired", LipSyncErrorCode.TIMEOUT),
    (StatusCode.UNAVAILABLE, "Exceeds maximum queue size", LipSyncErrorCode.BUFFER_OVERFLOW),
    (StatusCode.UNAVAILABLE, "", LipSyncErrorCode.MODEL_LOAD_FAILED),
    (StatusCode.NOT_FOUND, "", LipSyncErrorCode.MODEL_LOAD_FAILED),
    (StatusCode.INTERNAL, DEAD_INSTANCE, LipSyncErrorCode.MODEL_LOAD_FAILED),
    (StatusCode.INTERNAL, "CUDA", LipSyncErrorCode.GPU_UNAVAILABLE),
)
"""Everything else, INVALID_ARGUMENT (our own bug) among it, is VIDEO_GENERATION_FAILED."""


def code_of(status: StatusCode, message: str) -> LipSyncErrorCode:
    """The code of an answer that is no answer."""
    for known_status, fragment, code in CODES:
        if status is known_status and fragment in message:
            return code
    return LipSyncErrorCode.VIDEO_GENERATION_FAILED


def error_of(model: str, status: StatusCode, message: str) -> InferenceError:
    """The exception to raise for it."""
    if status is StatusCode.NOT_FOUND and ENSEMBLE.sub("", message).startswith(UNKNOWN_FACE):
        return NotCached(message, model=model)
    return InferenceError(code_of(status, message), f"{model}: {message}", model=model)


def timed_out(model: str) -> InferenceError:
    """The deadline passed before or while the request was on its way."""
    return InferenceError(
        LipSyncErrorCode.TIMEOUT, f"{model}: no answer before the deadline", model=model
    )
