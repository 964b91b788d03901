"""What can go wrong for a client, one exception a cause: the service's codes by type, and the
connection's own troubles.
"""

from __future__ import annotations

from typing import Any, Final

from orchestrator import protocol
from orchestrator.core.errors import LipSyncErrorCode


class LipSyncClientError(Exception):
    """The ground of all others."""


class ConnectionFailedError(LipSyncClientError):
    """The service cannot be reached, or did not come back in time."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """HTTP status, where there was an answer."""


class SessionLostError(LipSyncClientError):
    """The service no longer has the session whose turn it spoke. The session's next turn opens it
    anew.
    """

    def __init__(self, reason: str | None) -> None:
        super().__init__(
            _LOST.get(reason, "the connection came back, and the service has let go of the session")
        )
        self.reason = reason
        """DRAINING, OTHER_INSTANCE, EXPIRED, or None where the service did not say."""


class ServiceError(LipSyncClientError):
    """The service's `error` message."""

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
        """As on the wire."""
        self.message = message
        self.recoverable = recoverable
        """Whether the session may simply go on."""
        self.fallback_available = fallback_available
        self.details = details or {}

    @property
    def field(self) -> str | None:
        """Path of the field that is at fault."""
        value = self.details.get("field")
        return value if isinstance(value, str) else None


class FaceModelNotFoundError(ServiceError):
    """The user has no such face."""


class FaceModelIncompatibleError(ServiceError):
    """The face lacks what the model needs."""


class AudioProcessingError(ServiceError):
    """The audio could not be read."""


class VideoGenerationError(ServiceError):
    """No model drew the frames."""


class GpuUnavailableError(ServiceError):
    """The model needs a GPU that is not there."""


class ModelLoadError(ServiceError):
    """The model is not there, or the operator refuses it."""


class SyncError(ServiceError):
    """Sound and picture are too far apart to be corrected."""


class BufferOverflowError(ServiceError):
    """More audio or more messages than the service keeps."""


class ServiceTimeoutError(ServiceError):
    """Something took too long there."""


class InvalidMessageError(ServiceError):
    """A message was refused; `field` names what is wrong."""


class SessionLimitError(ServiceError):
    """There is no room for the session, or its time is over."""

    @property
    def retry_after_s(self) -> float | None:
        """When to try again."""
        value = self.details.get("retryAfterS")
        return float(value) if isinstance(value, int | float) else None


class UnauthorizedError(ServiceError):
    """The token does not open this user's faces and sessions."""


class InternalError(ServiceError):
    """An unexpected failure of the service; its log has the details."""


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
    "`drain_s` says how long it waits",
    protocol.OTHER_INSTANCE: "the connection came back to another instance, "
    f"which has not got the session; let the gateway route by the header {protocol.ROUTE_HEADER}, "
    f"the query parameter {protocol.ROUTE_QUERY} or a cookie",
    protocol.EXPIRED: "the connection came back too late; "
    "the service has let go of the session after `resume_ttl_s`",
}

REFUSALS: Final = (InvalidMessageError, SessionLimitError, UnauthorizedError)
"""The turn will not be spoken as asked, whatever `recoverable` says of the session; other
recoverable errors leave the turn going.
"""


def service_error(
    code: str,
    message: str,
    *,
    recoverable: bool,
    fallback_available: bool = False,
    details: dict[str, Any] | None = None,
) -> ServiceError:
    """The exception of a code; one that this client does not know is a plain `ServiceError`."""
    kind = _TYPES.get(code, ServiceError)
    return kind(
        code,
        message,
        recoverable=recoverable,
        fallback_available=fallback_available,
        details=details,
    )


def refused_here(field: str, message: str) -> ServiceError:
    """An argument that the service would refuse, told before it is sent."""
    return service_error(
        LipSyncErrorCode.INVALID_MESSAGE,
        f"{field}: {message}",
        recoverable=True,
        details={"field": field},
    )
