"""Exceptions of the client: one type for each error code, and connection failures."""

from __future__ import annotations

from typing import Any, Final

from orchestrator import protocol
from orchestrator.core.errors import LipSyncErrorCode


class LipSyncClientError(Exception):
    """Base class of all exceptions of the client."""


class ConnectionFailedError(LipSyncClientError):
    """The service cannot be reached, or was not reached again in time."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status of the response; None where there was none."""


class SessionLostError(LipSyncClientError):
    """The service has lost a session with a turn in progress; the next turn opens it anew."""

    def __init__(self, reason: str | None) -> None:
        super().__init__(
            _LOST.get(reason, "the connection was restored, but the service has closed the session")
        )
        self.reason = reason
        """DRAINING, OTHER_INSTANCE, EXPIRED, or None where the service gave no reason."""


class ServiceError(LipSyncClientError):
    """Error that the service has sent."""

    def __init__(
        self,
        code: str,
        message: str,
        *,
        recoverable: bool = True,
        fallback_available: bool = False,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        """Error code as on the wire."""
        self.message = message
        self.recoverable = recoverable
        """True when the session continues."""
        self.fallback_available = fallback_available
        self.details = details or {}

    @property
    def field(self) -> str | None:
        """Path of the invalid field of the message; None for other errors."""
        value = self.details.get("field")
        return value if isinstance(value, str) else None


class FaceModelNotFoundError(ServiceError):
    """The user has no such face."""


class FaceModelIncompatibleError(ServiceError):
    """The face lacks what the model needs."""


class AudioProcessingError(ServiceError):
    """The audio could not be decoded."""


class VideoGenerationError(ServiceError):
    """No model could generate the frames."""


class GpuUnavailableError(ServiceError):
    """The model needs a GPU, and there is none."""


class ModelLoadError(ServiceError):
    """The model is not available, or the operator has disabled it."""


class SyncError(ServiceError):
    """Sound and picture are too far apart to be synchronized."""


class BufferOverflowError(ServiceError):
    """The service received more audio or messages than it can buffer."""


class ServiceTimeoutError(ServiceError):
    """An operation of the service timed out."""


class InvalidMessageError(ServiceError):
    """The service, or this client, refused a message; `field` is the path of its invalid field."""


class SessionLimitError(ServiceError):
    """The service is at capacity, or the session has reached its time limit."""

    @property
    def retry_after_s(self) -> float | None:
        """Seconds to wait before a retry; None where the service gave no time."""
        value = self.details.get("retryAfterS")
        return float(value) if isinstance(value, int | float) else None


class UnauthorizedError(ServiceError):
    """The token does not authorize access to this user's faces and sessions."""


class InternalError(ServiceError):
    """The service failed unexpectedly; its log has the details."""


_TYPES: Final[dict[str, type[ServiceError]]] = {
    LipSyncErrorCode.FACE_MODEL_NOT_FOUND: FaceModelNotFoundError,
    LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE: FaceModelIncompatibleError,
    LipSyncErrorCode.AUDIO_PROCESSING_FAILED: AudioProcessingError,
    LipSyncErrorCode.VIDEO_GENERATION_FAILED: VideoGenerationError,
    LipSyncErrorCode.GPU_UNAVAILABLE: GpuUnavailableError,
    LipSyncErrorCode.MODEL_LOAD_FAILED: ModelLoadError,
    LipSyncErrorCode.SYNC_ERROR: SyncError,
    LipSyncErrorCode.BUFFER_OVERFLOW: BufferOverflowError,
    LipSyncErrorCode.TIMEOUT: ServiceTimeoutError,
    LipSyncErrorCode.INVALID_MESSAGE: InvalidMessageError,
    LipSyncErrorCode.SESSION_LIMIT: SessionLimitError,
    LipSyncErrorCode.UNAUTHORIZED: UnauthorizedError,
    LipSyncErrorCode.INTERNAL: InternalError,
}

_LOST: Final[dict[str | None, str]] = {
    protocol.DRAINING: "the instance of the service shut down before the turn was over; "
    "raise `drain_s` to give turns more time",
    protocol.OTHER_INSTANCE: "the new connection leads to an instance without the session; "
    f"configure the gateway to route by the header {protocol.ROUTE_HEADER}, "
    f"the query parameter {protocol.ROUTE_QUERY} or a cookie",
    protocol.EXPIRED: "the connection was restored too late: "
    "the service closed the session after `resume_ttl_s`",
}

TURN_REFUSALS: Final = (InvalidMessageError, SessionLimitError, UnauthorizedError)
"""Errors that end a turn which has not started, even if they are recoverable for the session."""


def service_error(
    code: str,
    message: str,
    *,
    recoverable: bool,
    fallback_available: bool = False,
    details: dict[str, Any] | None = None,
) -> ServiceError:
    """The exception of an error code; a plain `ServiceError` for an unknown one."""
    kind = _TYPES.get(code, ServiceError)
    return kind(
        code,
        message,
        recoverable=recoverable,
        fallback_available=fallback_available,
        details=details,
    )


def invalid_argument(field: str, message: str) -> ServiceError:
    """InvalidMessageError for an argument that the service would refuse."""
    return service_error(
        LipSyncErrorCode.INVALID_MESSAGE,
        f"{field}: {message}",
        recoverable=True,
        details={"field": field},
    )
