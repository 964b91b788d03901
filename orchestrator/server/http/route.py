"""Records of the route table. Routing, the OpenAPI document and docs/http.md are made from them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from aiohttp import web

from orchestrator.server.http.access import needs_token

Json: TypeAlias = dict[str, Any]

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

Content: TypeAlias = Mapping[str, Json]
"""Media type -> media type object of OpenAPI. Its `schema` is a JSON schema or a record class."""

EVERYWHERE: Final = frozenset({400, 500})
"""Error statuses of every route."""

GUARDED: Final = frozenset({401, 403})
"""Error statuses of routes that need a token where the operator configured tokens."""

_PATTERN: Final = re.compile(r"{(\w+)(?::[^}]*)?}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A response that is not an error object."""

    status: int = 200
    description: str = "OK"
    content: Content | None = None
    """None for a response without a body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation of the HTTP interface."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    """Path of aiohttp: a parameter is `{name}`, or `{name:regular expression}`."""
    handler: Handler
    summary: str
    outcomes: tuple[Outcome, ...]
    errors: frozenset[int] = frozenset()
    """Statuses of error objects beside those of `EVERYWHERE` and `GUARDED`."""
    parameters: tuple[Json, ...] = ()
    """Parameter objects of OpenAPI for the query and the headers."""
    body: Content | None = None
    """The required request body; None for a request without one."""
    is_long: bool = False
    """Refused during graceful shutdown; one that began earlier delays the shutdown."""

    @property
    def template(self) -> str:
        """The path without regular expressions, as OpenAPI writes it."""
        return _PATTERN.sub(r"{\1}", self.path)

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """Names of the path's parameters, in order."""
        return tuple(_PATTERN.findall(self.path))

    @property
    def is_guarded(self) -> bool:
        """True where a configured service requires a token."""
        return needs_token(self.path)

    @property
    def error_statuses(self) -> tuple[int, ...]:
        """Statuses of all error objects of this route, ascending."""
        return tuple(sorted(EVERYWHERE | self.errors | (GUARDED if self.is_guarded else set())))


def json_content(schema: type | Json) -> Content:
    """JSON content with a record class or a JSON schema."""
    return {"application/json": {"schema": schema}}


def text_content(media_type: str) -> Content:
    """Text content of this media type."""
    return {media_type: {"schema": {"type": "string"}}}


def binary_content(media_type: str) -> Content:
    """Binary content of this media type."""
    return {media_type: {"schema": {"type": "string", "contentMediaType": media_type}}}


def form_content(fields: Json, *required: str) -> Content:
    """A multipart form: JSON schemas by field name, and the names of the required fields."""
    schema = {"type": "object", "properties": fields, "required": list(required)}
    return {"multipart/form-data": {"schema": schema}}
