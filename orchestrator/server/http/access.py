"""The door of the HTTP side: who a request comes from, and which pages' browsers may connect."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from orchestrator.server.auth import Authenticator, Caller, bearer_token
from orchestrator.server.http.context import CONFIG

AUTHENTICATOR: Final = web.AppKey("authenticator", Authenticator)
CALLER: Final = web.RequestKey("caller", Caller)

GUARDED: Final = "/v1/"
"""Paths below it belong to users; probes, metrics, the page and the description of the interface
are open.
"""

SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing; a socket checks the origin itself."""

OPEN: Final = frozenset({"/v1/openapi.json"})

PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST, DELETE",
    "Access-Control-Allow-Headers": "Authorization, Content-Type",
    "Access-Control-Max-Age": "600",
}
"""What scripts of the operator's pages may send beyond what any page may; browsers ask again after
ten minutes.
"""

READABLE: Final = "Retry-After"
"""A header of ours that scripts read, beyond those that any answer shows them."""


def needs_token(path: str) -> bool:
    """True for a path that a service with tokens opens to their holders only."""
    return path.startswith(GUARDED) and path not in OPEN


@web.middleware
async def known_callers(request: web.Request, handler: Any) -> web.StreamResponse:
    """Nobody reaches a guarded path without a valid token, nor another user's faces with one.

    Browsers ask whether a page may send a token before they send it: that is answered without one.
    """
    if _is_preflight(request):
        return web.Response(status=204, headers=PREFLIGHT)
    if needs_token(request.path):
        token = bearer_token(
            request.headers.get("Authorization"), request.query.get("access_token")
        )
        caller = request.app[AUTHENTICATOR].caller(token)
        if "userId" in request.match_info:
            caller.check(request.match_info["userId"])
        if (
            request.method not in SAFE
        ):  # browsers let any page post a form, to a service on the visitor's machine too
            check_origin(request, request.app[CONFIG].allowed_origins)
        request[CALLER] = caller
    response: web.StreamResponse = await handler(request)
    return response


async def name_allowed_origins(request: web.Request, response: web.StreamResponse) -> None:
    """Lets the scripts of pages that the operator named read what this service answers."""
    if _is_named(request):
        response.headers["Access-Control-Allow-Origin"] = request.headers["Origin"]
        response.headers["Access-Control-Expose-Headers"] = READABLE
        response.headers["Vary"] = "Origin"


def _is_preflight(request: web.Request) -> bool:
    """A browser's question about a request that a page of the operator's wants to make."""
    return (
        request.method == "OPTIONS"
        and "Access-Control-Request-Method" in request.headers
        and _is_named(request)
    )


def _is_named(request: web.Request) -> bool:
    """Whether the operator named the page that asks."""
    return request.headers.get("Origin", "").rstrip("/") in request.app[CONFIG].allowed_origins


def caller_of(request: web.Request) -> Caller:
    """Whoever `known_callers` let in."""
    return request[CALLER]


def check_origin(request: web.Request, allowed: tuple[str, ...]) -> None:
    """A browser may connect from this service's own page and from those that the operator named;
    programs send no Origin.
    """
    origin = request.headers.get("Origin")
    if (
        origin is not None
        and _host_of(origin) != request.host
        and origin.rstrip("/") not in allowed
    ):
        raise web.HTTPForbidden(
            text="this origin may not connect; name it in allowed_origins, or open the "
            "page from this service"
        )


def _host_of(origin: str) -> str | None:
    """With its port; None for what is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
