"""OpenAPI 3.1 document of the HTTP interface, made from the route table.

The schemas of JSON bodies are those of the records that the handlers encode and decode.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from orchestrator import __version__
from orchestrator.protocol import ErrorMessage
from orchestrator.server.http.request_schemas import PATH_PARAMETERS
from orchestrator.server.http.route import Content, Json, Outcome, Route, json_content

ERRORS: Final = {
    400: "A field is invalid (`details.field` names it), or the body has another format than this "
    "path reads",
    401: "The token is missing, unknown, forged or expired",
    403: "The token belongs to another user, or the page's origin is not allowed",
    404: "No such face model, or no such model",
    408: "The body was not complete in time",
    413: "The body is larger than this path accepts",
    422: "The photo, recording or face cannot be used; for a photo `details.reasons` lists what a "
    "person can do about it",
    500: "Internal error; see the service's log",
    503: "At capacity (retry after `Retry-After` seconds), or a part that is needed is not "
    "available",
    504: "The work took longer than the operator allows",
}
"""Description of each error status."""

RETRY_AFTER: Final[Json] = {
    "Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}
}

SECURITY_SCHEMES: Final[Json] = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "Required where the operator configured tokens or JWTs",
    },
    "queryToken": {
        "type": "apiKey",
        "in": "query",
        "name": "access_token",
        "description": "For WebSockets and images of browsers",
    },
}


def document(routes: Sequence[Route]) -> Json:
    """The whole OpenAPI document of these routes."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lipsync-service",
            "version": __version__,
            "summary": "Audio in, video of a speaking face out, in real time",
            "description": "Live sessions use the WebSocket `/v1/ws` (docs/protocol.md); "
            "docs/http.md has an example of each path.",
        },
        "security": [{"token": []}, {"queryToken": []}, {}],
        "paths": _paths(routes),
        "components": {"schemas": _schemas(routes), "securitySchemes": SECURITY_SCHEMES},
    }


def _paths(routes: Iterable[Route]) -> Json:
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route)
    return paths


def _operation(route: Route) -> Json:
    outcomes = {str(outcome.status): _outcome(outcome) for outcome in route.outcomes}
    errors = {str(status): _error(status) for status in route.error_statuses}
    described: Json = {"summary": route.summary, "responses": outcomes | errors}
    if parameters := [*map(_path_parameter, route.path_parameters), *route.parameters]:
        described["parameters"] = parameters
    if route.body:
        described["requestBody"] = {"required": True, "content": _referenced(route.body)}
    if not route.is_guarded:
        described["security"] = []
    return described


def _path_parameter(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, **PATH_PARAMETERS[name]}


def _outcome(outcome: Outcome) -> Json:
    described: Json = {"description": outcome.description}
    if outcome.content:
        described["content"] = _referenced(outcome.content)
    return described


def _error(status: int) -> Json:
    content = _referenced(json_content(ErrorMessage))
    described: Json = {"description": ERRORS[status], "content": content}
    return described | ({"headers": RETRY_AFTER} if status == 503 else {})


def _referenced(content: Content) -> Json:
    """The content with a reference in place of each record class."""
    return {
        media_type: described | {"schema": _reference(described["schema"])}
        for media_type, described in content.items()
    }


def _reference(schema: Any) -> Json:
    if isinstance(schema, type):
        return {"$ref": f"#/components/schemas/{schema.__name__}"}
    inline: Json = schema
    return inline


def _schemas(routes: Iterable[Route]) -> Json:
    """Schemas of all record classes by name, those of nested records included."""
    records = dict.fromkeys((ErrorMessage, *(each for route in routes for each in _records(route))))
    _, schemas = msgspec.json.schema_components(records, ref_template="#/components/schemas/{name}")
    return schemas


def _records(route: Route) -> Iterator[type]:
    contents = (*(outcome.content for outcome in route.outcomes), route.body)
    for content in filter(None, contents):
        for described in content.values():
            if isinstance(described["schema"], type):
                yield described["schema"]
