"""Access control of the HTTP side: authentication by token, and the origins that may connect."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from orchestrator.server.auth import Authenticator, Caller, bearer_token
from orchestrator.server.http.context import CONFIG

AUTHENTICATOR: Final = web.AppKey("authenticator", Authenticator)
CALLER: Final = web.RequestKey("caller", Caller)

GUARDED_PREFIX: Final = "/v1/"
"""Paths below it belong to users. Probes, metrics and the page are open."""

OPEN_PATHS: Final = frozenset({"/v1/openapi.json"})
"""Paths below `GUARDED_PREFIX` that need no token."""

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing. A WebSocket upgrade is a GET: its handler checks the origin."""

PREFLIGHT_HEADERS: Final = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
}
"""CORS preflight headers: methods and headers for allowed origins, cached for ten minutes."""

EXPOSED_HEADERS: Final = "Retry-After"
"""Headers that scripts may read beyond those that CORS always exposes."""


def needs_token(path: str) -> bool:
    """True for a path that a service with tokens opens to their holders only."""
    return path.startswith(GUARDED_PREFIX) and path not in OPEN_PATHS


@web.middleware
async def authenticate(request: web.Request, handler: Any) -> web.StreamResponse:
    """Require a valid token for a guarded path, and the user's own token for a user's faces.

    A CORS preflight needs none: browsers send it before they send the token.
    """
    if _is_preflight(request):
        return web.Response(status=204, headers=PREFLIGHT_HEADERS)
    if needs_token(request.path):
        request[CALLER] = _admitted(request)
    response: web.StreamResponse = await handler(request)
    return response


def _admitted(request: web.Request) -> Caller:
    token = bearer_token(request.headers.get("Authorization"), request.query.get("access_token"))
    caller = request.app[AUTHENTICATOR].caller(token)
    if "userId" in request.match_info:
        caller.check(request.match_info["userId"])
    if request.method not in SAFE_METHODS:
        # Browsers let any page post a form, also to a service on the visitor's own machine.
        check_origin(request, request.app[CONFIG].allowed_origins)
    return caller


async def add_cors_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Let scripts of the allowed origins read the response."""
    if _has_allowed_origin(request):
        response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
        response.headers["Vary"] = "Origin"


def _is_preflight(request: web.Request) -> bool:
    """True for a CORS preflight of an allowed origin."""
    return (
        request.method == "OPTIONS"
        and "Access-Control-Request-Method" in request.headers
        and _has_allowed_origin(request)
    )


def _has_allowed_origin(request: web.Request) -> bool:
    return request.headers.get("Origin", "").rstrip("/") in request.app[CONFIG].allowed_origins


def caller_of(request: web.Request) -> Caller:
    """The caller that `authenticate` admitted."""
    return request[CALLER]


def check_origin(request: web.Request, allowed: tuple[str, ...]) -> None:
    """Raise 403 for a page that is neither the service's own nor of an `allowed` origin.

    Programs send no `Origin` header and pass.
    """
    origin = request.headers.get("Origin")
    if (
        origin is not None
        and _host_of(origin) != request.host
        and origin.rstrip("/") not in allowed
    ):
        raise web.HTTPForbidden(
            text="this origin may not connect: add it to allowed_origins, or open the page from "
            "this service"
        )


def _host_of(origin: str) -> str | None:
    """Host and port of an origin; None for text that is not an address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
