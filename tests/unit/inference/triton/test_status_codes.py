"""What a Triton answers becomes the code that says what to do."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from orchestrator.core.errors import LipSyncErrorCode as Code
from orchestrator.inference import NotCached
from orchestrator.inference.triton.status_codes import code_of, error_of, timed_out


@pytest.mark.parametrize(
    ("status", "message", "code"),
    [
        (StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", Code.TIMEOUT),
        (StatusCode.UNAVAILABLE, "Request timeout expired", Code.TIMEOUT),
        (StatusCode.UNAVAILABLE, "Exceeds maximum queue size", Code.BUFFER_OVERFLOW),
        (StatusCode.UNAVAILABLE, "failed to connect to all addresses", Code.MODEL_LOAD_FAILED),
        (
            StatusCode.NOT_FOUND,
            "Request for unknown model: 'x' is not found",
            Code.MODEL_LOAD_FAILED,
        ),
        (StatusCode.INTERNAL, "Stub process 'tpsm_0_0' is not healthy.", Code.MODEL_LOAD_FAILED),
        (StatusCode.INTERNAL, "CUDA out of memory", Code.GPU_UNAVAILABLE),
        (StatusCode.INTERNAL, "ValueError: negative", Code.VIDEO_GENERATION_FAILED),
        (StatusCode.INVALID_ARGUMENT, "unexpected shape for input", Code.VIDEO_GENERATION_FAILED),
    ],
)
def test_each_status_has_its_code(status: StatusCode, message: str, code: Code) -> None:
    assert code_of(status, message) is code


def test_an_unknown_face_is_a_condition_of_its_own() -> None:
    error = error_of("tpsm", StatusCode.NOT_FOUND, "unknown face 00ff")
    assert isinstance(error, NotCached)
    assert (error.model, error.code) == ("tpsm", Code.FACE_MODEL_NOT_FOUND)
    assert not isinstance(error_of("tpsm", StatusCode.NOT_FOUND, "unknown model"), NotCached)
    assert isinstance(
        error_of(
            "tpsm_speech", StatusCode.NOT_FOUND, "in ensemble 'tpsm_speech', unknown face 00ff"
        ),
        NotCached,
    )


def test_errors_name_their_model() -> None:
    assert timed_out("tpsm").details == {"model": "tpsm"}
