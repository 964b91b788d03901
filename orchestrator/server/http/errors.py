"""Whatever goes wrong over HTTP is told as the typed JSON object that the WebSocket sends too."""

from __future__ import annotations

import logging
from typing import Any, Final

from aiohttp import web

from orchestrator import protocol
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.faces.storage.errors import StorageError
from orchestrator.server.http.context import SERVICE, answer

logger = logging.getLogger(__name__)

CLIENT_GONE: Final = 499
"""Nobody reads it; it stands in the access log."""

STATUS_OF: Final[dict[LipSyncErrorCode, int]] = {
    LipSyncErrorCode.FACE_MODEL_NOT_FOUND: 404,
    LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE: 422,
    LipSyncErrorCode.AUDIO_PROCESSING_FAILED: 422,
    LipSyncErrorCode.INVALID_MESSAGE: 400,
    LipSyncErrorCode.UNAUTHORIZED: 403,
    LipSyncErrorCode.SESSION_LIMIT: 503,
    LipSyncErrorCode.MODEL_LOAD_FAILED: 503,
    LipSyncErrorCode.GPU_UNAVAILABLE: 503,
    LipSyncErrorCode.TIMEOUT: 504,
}
"""HTTP status of each code; the others are 500."""

CODE_OF: Final[dict[int, LipSyncErrorCode]] = {
    401: LipSyncErrorCode.UNAUTHORIZED,
    403: LipSyncErrorCode.UNAUTHORIZED,
    408: LipSyncErrorCode.TIMEOUT,
}
"""Code of what aiohttp itself refuses; other faults of the caller are INVALID_MESSAGE."""

NOT_FOUND: Final = "no such path; /v1/openapi.json lists all"
NO_STORAGE: Final = "the storage of the face models does not answer; try again, or ask the operator"


@web.middleware
async def errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    """Every error is the object that the WebSocket sends, under a fitting status: ours, aiohttp's,
    and those that nobody foresaw.

    Where an answer has begun there is no telling any more, since a second one would end up inside
    of the first: the connection is cut.
    """
    try:
        response: web.StreamResponse = await handler(request)
    except Exception as error:  # noqa: BLE001 - the edge of a request: whatever it is becomes the answer
        return _cut_short(request, error) if request.writer.output_size else _told(request, error)
    return response


def _told(request: web.Request, error: Exception) -> web.Response:
    """The answer that says what went wrong; a redirection is raised again."""
    if isinstance(error, LipSyncError):
        if isinstance(error, StorageError):
            logger.error("%s %s: %s", request.method, request.path, error)
        return refused(request, error, _status(error))
    if isinstance(error, web.HTTPException):
        return _refusal(request, error)
    if isinstance(error, ConnectionError):
        return web.Response(status=CLIENT_GONE)
    if isinstance(error, OSError):
        logger.error("%s %s: storage failed: %s", request.method, request.path, error)
        return refused(request, LipSyncError(LipSyncErrorCode.MODEL_LOAD_FAILED, NO_STORAGE), 503)
    logger.error("%s %s failed", request.method, request.path, exc_info=error)
    message = "internal error: the request failed. See the server log for details."
    return refused(request, LipSyncError(LipSyncErrorCode.INTERNAL, message), 500)


def _refusal(request: web.Request, refusal: web.HTTPException) -> web.Response:
    if refusal.status < 400:
        raise refusal
    code = CODE_OF.get(refusal.status, LipSyncErrorCode.INVALID_MESSAGE)
    told = LipSyncError(
        code, _explained(refusal), recoverable=False, details={"status": refusal.status}
    )
    return refused(
        request,
        told,
        refusal.status,
        {name: refusal.headers[name] for name in ("Allow",) if name in refusal.headers},
    )


def _cut_short(request: web.Request, error: Exception) -> web.Response:
    """Of what is unsent nothing more is sent: whoever takes no data would hold the connection open
    with it.
    """
    if not isinstance(error, ConnectionError):
        logger.error(
            "%s %s failed in the middle of its answer", request.method, request.path, exc_info=error
        )
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=CLIENT_GONE)


def refused(
    request: web.Request, error: LipSyncError, status: int, headers: dict[str, str] | None = None
) -> web.Response:
    request.app[SERVICE].metrics.count_error(error)
    more = dict(headers or {})
    if status == 401:
        more["WWW-Authenticate"] = "Bearer"
    if "retryAfterS" in error.details:
        more["Retry-After"] = str(error.details["retryAfterS"])
    return answer(protocol.error_message(error, None), status, more)


def _status(error: LipSyncError) -> int:
    if error.details.get("field") == "authorization":
        return 401
    return 503 if isinstance(error, StorageError) else STATUS_OF.get(error.code, 500)


def _explained(refusal: web.HTTPException) -> str:
    if isinstance(refusal, web.HTTPMethodNotAllowed):
        return (
            f"{refusal.method} is not offered here; use "
            f"{', '.join(sorted(refusal.allowed_methods))}"
        )
    if isinstance(refusal, web.HTTPNotFound):
        return NOT_FOUND
    return refusal.text or refusal.reason
