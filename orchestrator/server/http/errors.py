"""Error responses of the HTTP side: the typed JSON object that the WebSocket sends, too."""

from __future__ import annotations

import logging
from typing import Any, Final

from aiohttp import web

from orchestrator import protocol
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.faces.storage.errors import StorageError
from orchestrator.server.http.context import SERVICE, json_response

logger = logging.getLogger(__name__)

CLIENT_GONE: Final = 499
"""Status for a client that disconnected. It is never sent; it appears in the access log."""

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
"""Code of aiohttp's own errors by status; other client errors are INVALID_MESSAGE."""

NOT_FOUND: Final = "no such path; see /v1/openapi.json"
NO_STORAGE: Final = "the face storage does not respond: retry later, or contact the operator"
INTERNAL: Final = "internal error: the request failed. See the server log for details."


@web.middleware
async def errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    """Convert every exception to an error object with a fitting status.

    Once the response has started an error body would corrupt it, so abort the connection.
    """
    try:
        response: web.StreamResponse = await handler(request)
    except Exception as error:  # noqa: BLE001 - the edge of a request: every error becomes a response
        if request.writer.output_size:
            return _aborted(request, error)
        return _converted(request, error)
    return response


def _converted(request: web.Request, error: Exception) -> web.Response:
    """The response for an exception; a redirection is raised again."""
    if isinstance(error, LipSyncError):
        if isinstance(error, StorageError):
            logger.error("%s %s: %s", request.method, request.path, error)
        return error_response(request, error, _status(error))
    if isinstance(error, web.HTTPException):
        return _of_aiohttp(request, error)
    if isinstance(error, ConnectionError):
        return web.Response(status=CLIENT_GONE)
    if isinstance(error, OSError):
        logger.error("%s %s: storage failed: %s", request.method, request.path, error)
        failure = LipSyncError(LipSyncErrorCode.MODEL_LOAD_FAILED, NO_STORAGE)
        return error_response(request, failure, 503)
    logger.error("%s %s failed", request.method, request.path, exc_info=error)
    failure = LipSyncError(LipSyncErrorCode.INTERNAL, INTERNAL)
    return error_response(request, failure, 500)


def _of_aiohttp(request: web.Request, error: web.HTTPException) -> web.Response:
    if error.status < 400:
        raise error
    code = CODE_OF.get(error.status, LipSyncErrorCode.INVALID_MESSAGE)
    details = {"status": error.status}
    typed = LipSyncError(code, _explained(error), recoverable=False, details=details)
    headers = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
    return error_response(request, typed, error.status, headers)


def _aborted(request: web.Request, error: Exception) -> web.Response:
    """Abort the connection, unsent data included: a client that takes no data would keep it open.

    The response is for the access log only.
    """
    if not isinstance(error, ConnectionError):
        text = "%s %s failed after its response had started"
        logger.error(text, request.method, request.path, exc_info=error)
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=CLIENT_GONE)


def error_response(
    request: web.Request, error: LipSyncError, status: int, headers: dict[str, str] | None = None
) -> web.Response:
    """The error object with this status; counts the error in the metrics."""
    request.app[SERVICE].metrics.count_error(error)
    more = dict(headers or {})
    if status == 401:
        more["WWW-Authenticate"] = "Bearer"
    if "retryAfterS" in error.details:
        more["Retry-After"] = str(error.details["retryAfterS"])
    return json_response(protocol.error_message(error, None), status, more)


def _status(error: LipSyncError) -> int:
    if error.details.get("field") == "authorization":
        return 401
    return 503 if isinstance(error, StorageError) else STATUS_OF.get(error.code, 500)


def _explained(error: web.HTTPException) -> str:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return f"{error.method} is not allowed here; use {allowed}"
    if isinstance(error, web.HTTPNotFound):
        return NOT_FOUND
    return error.text or error.reason
