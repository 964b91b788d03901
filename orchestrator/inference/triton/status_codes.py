"""Table from Triton's gRPC status codes to the service's error codes."""

from __future__ import annotations

import re
from typing import Final

from grpc import StatusCode

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.inference import InferenceError, NotCached

UNKNOWN_FACE: Final = "unknown face"
"""Start of the `tpsm` model's NOT_FOUND message when it does not hold the maps of a face."""

ENSEMBLE_PREFIX: Final = re.compile(r"^in ensemble '[^']*', ")
"""Text that the server puts before the message of an ensemble's member."""

DEAD_INSTANCE: Final = "is not healthy"
"""Text of every call's error to a dead backend process; the server never restarts it (2.51)."""

LOST_REGION: Final = "Unable to find shared memory region"
"""Message of a restarted server, which has lost the client's shared memory."""

SHORT_REGION: Final = "shared memory size specified with the request"
"""Message if an output did not fit into its shared memory; it goes on with the sizes."""

CODES: Final[tuple[tuple[StatusCode, str, LipSyncErrorCode], ...]] = (
    # status, part of the message ("" matches any), code: the first matching row counts
    (StatusCode.DEADLINE_EXCEEDED, "", LipSyncErrorCode.TIMEOUT),
    (StatusCode.UNAVAILABLE, "Request timeout expired", LipSyncErrorCode.TIMEOUT),
    (StatusCode.UNAVAILABLE, "Exceeds maximum queue size", LipSyncErrorCode.BUFFER_OVERFLOW),
    (StatusCode.UNAVAILABLE, "", LipSyncErrorCode.MODEL_LOAD_FAILED),
    (StatusCode.NOT_FOUND, "", LipSyncErrorCode.MODEL_LOAD_FAILED),
    (StatusCode.INTERNAL, DEAD_INSTANCE, LipSyncErrorCode.MODEL_LOAD_FAILED),
    (StatusCode.INTERNAL, "CUDA", LipSyncErrorCode.GPU_UNAVAILABLE),
)
"""Everything else is VIDEO_GENERATION_FAILED, also INVALID_ARGUMENT (a bug of the service)."""


def code_of(status: StatusCode, message: str) -> LipSyncErrorCode:
    """Error code of a failed request."""
    for known_status, fragment, code in CODES:
        if status is known_status and fragment in message:
            return code
    return LipSyncErrorCode.VIDEO_GENERATION_FAILED


def error_of(model: str, status: StatusCode, message: str) -> InferenceError:
    """Exception to raise for a failed request."""
    if status is StatusCode.NOT_FOUND and ENSEMBLE_PREFIX.sub("", message).startswith(UNKNOWN_FACE):
        return NotCached(message, model=model)
    return InferenceError(code_of(status, message), f"{model}: {message}", model=model)


def timed_out(model: str) -> InferenceError:
    """Exception for a deadline that passed before or during the request."""
    return InferenceError(
        LipSyncErrorCode.TIMEOUT, f"{model}: no answer before the deadline", model=model
    )
