"""Errors that a caller can act on: one exception type, the specification's codes and ours."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

ID_SYNTAX: Final = "1 to 128 characters of A-Z a-z 0-9 . _ - and neither '.' nor '..'"
"""Syntax of user, face model, session and turn ids, in words."""

ID_RULE: Final = f"must be {ID_SYNTAX}"
"""Error message for a bad id, the same wherever one is found."""


class LipSyncErrorCode(StrEnum):
    """Error codes of the wire; the values are the wire strings."""

    FACE_MODEL_NOT_FOUND = "FACE_MODEL_NOT_FOUND"
    FACE_MODEL_INCOMPATIBLE = "FACE_MODEL_INCOMPATIBLE"
    AUDIO_PROCESSING_FAILED = "AUDIO_PROCESSING_FAILED"
    VIDEO_GENERATION_FAILED = "VIDEO_GENERATION_FAILED"
    GPU_UNAVAILABLE = "GPU_UNAVAILABLE"
    MODEL_LOAD_FAILED = "MODEL_LOAD_FAILED"
    SYNC_ERROR = "SYNC_ERROR"
    BUFFER_OVERFLOW = "BUFFER_OVERFLOW"
    TIMEOUT = "TIMEOUT"
    INVALID_MESSAGE = "INVALID_MESSAGE"
    SESSION_LIMIT = "SESSION_LIMIT"
    UNAUTHORIZED = "UNAUTHORIZED"
    INTERNAL = "INTERNAL"


class LipSyncError(Exception):
    """A failure that is reported to the caller.

    `recoverable` is True where the same session may go on. `details` names the field or the models
    concerned.
    """

    def __init__(
        self,
        code: LipSyncErrorCode,
        message: str,
        *,
        recoverable: bool = True,
        fallback_available: bool = False,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.recoverable = recoverable
        self.fallback_available = fallback_available
        self.details: dict[str, Any] = dict(details or {})


def unforeseen() -> LipSyncError:
    """Return the error for an unexpected exception, which closes the session it occurred in.

    Only the log has the exception.
    """
    message = (
        "internal error: the session was closed. Open a new session; see the server log for "
        "details."
    )
    return LipSyncError(LipSyncErrorCode.INTERNAL, message, recoverable=False)


def invalid_field(
    field: str, message: str, code: LipSyncErrorCode = LipSyncErrorCode.INVALID_MESSAGE
) -> LipSyncError:
    """Return the error for a bad message.

    `field` is the wire path (`audioChunk.sampleRate`); `message` states what is wrong and what to
    send.
    """
    return LipSyncError(code, f"{field}: {message}", recoverable=True, details={"field": field})
