"""The HTTP side as an OpenAPI 3.1 document, its bodies made from the records that the handlers
answer with.
"""

from __future__ import annotations

import base64
import importlib.metadata
from functools import cache
from typing import Any, Final, TypeAlias

import msgspec

from orchestrator.core.types import SHIPPED_MODELS
from orchestrator.protocol import ROUTE_HEADER, ROUTE_QUERY, ErrorMessage
from orchestrator.server.http import schemas as answers

Json: TypeAlias = dict[str, Any]

ERRORS: Final = {
    "400": "A field is at fault: `details.field` names it, or the body is not what this path reads",
    "401": "The token is missing, unknown, forged or expired",
    "403": "The token belongs to another user, or the page that asks may not",
    "404": "There is no such face model, or no such model",
    "408": "The body did not come in time",
    "413": "The body is larger than this path accepts",
    "422": "The photo, recording or face will not do; for a photo `details.reasons` says "
    "what a person can do about it",
    "500": "The service failed; its log says why",
    "503": "There is no room now (`Retry-After` says when to try again), or what is needed "
    "is not available",
    "504": "It took longer than the operator allows",
}
EVERYWHERE: Final = ("400", "500")
GUARDED: Final = ("401", "403")

RECORDS: Final = (
    ErrorMessage,
    answers.Alive,
    answers.Ready,
    answers.Health,
    answers.Models,
    answers.ModelPerformance,
    answers.BenchmarkRequest,
    answers.Benchmark,
    answers.FaceModels,
    answers.FaceModel,
    answers.FaceModelDetails,
)

ID: Final[Json] = {"type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$"}
"""Stricter than what is served: ids may begin with a dot as long as they are neither `.` nor `..`. 
"""

TEST: Final[Json] = {
    "userId": "demo",
    "faceModelId": "demo",
    "audioChunk": {
        "data": base64.b64encode(bytes(3200)).decode(),
        "timestamp": 0,
        "sequenceNumber": 0,
        "sampleRate": 16000,
        "channels": 1,
        "format": "pcm",
    },
}
"""A tenth of a second of silence."""

MODEL: Final[Json] = {"type": "string", "examples": [model.value for model in SHIPPED_MODELS]}
"""Not an enumeration: a model of one's own has its own name."""


@cache
def document() -> Json:
    """The whole description; treat it as constant."""
    _, schemas = msgspec.json.schema_components(RECORDS, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "lipsync-service",
            "version": importlib.metadata.version("lipsync-service"),
            "summary": "Audio in, video of a speaking face out, in real time",
            "description": "Live sessions go over the WebSocket `/v1/ws` (docs/protocol.md); "
            "docs/http.md has an example of each path.",
        },
        "security": [{"token": []}, {"queryToken": []}, {}],
        "paths": _probes() | _models() | _media() | _faces(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Asked for where the operator configured tokens or JWTs",
                },
                "queryToken": {
                    "type": "apiKey",
                    "in": "query",
                    "name": "access_token",
                    "description": "For browsers' WebSockets and images",
                },
            },
        },
    }


def _probes() -> Json:
    text = {"text/plain": {"schema": {"type": "string"}}}
    described = {
        "application/json": {"schema": {"type": "object", "required": ["openapi", "paths"]}}
    }
    not_ready = {
        "description": "The service starts, or shuts down",
        "content": _json(answers.Ready),
    }
    socket = {
        "101": {
            "description": "The socket is open; `lipsync.binary.v1` may be asked for as subprotocol"
        }
    }
    name = [
        {
            "name": "file",
            "in": "path",
            "required": True,
            "schema": {"type": "string"},
            "example": "client.js",
        }
    ]
    page_file = _operation("A file of the demo page", _ok(_binary("*/*")), ("404",), name) | {
        "security": []
    }
    return {
        "/": {"get": _open("The demo page", {"text/html": {"schema": {"type": "string"}}})},
        "/demo/{file}": {"get": page_file},
        "/healthz": {"get": _open("Whether the process lives", _json(answers.Alive))},
        "/readyz": {
            "get": _open(
                "Readiness: new sessions are accepted", _json(answers.Ready), {"503": not_ready}
            )
        },
        "/metrics": {"get": _open("Prometheus metrics", text)},
        "/v1/openapi.json": {"get": _open("This document", described)},
        "/v1/ws": {
            "get": _operation(
                "The WebSocket of live sessions", socket, (*GUARDED, "503"), _routing_key()
            )
        },
        "/v1/health": {
            "get": _operation(
                "Sessions, capacity, and each model's availability and latency",
                _ok(_json(answers.Health)),
                GUARDED,
            )
        },
    }


def _routing_key() -> list[Json]:
    """As a query parameter, since browsers send no headers there, and as a header."""
    text = (
        "Random key of the client, kept over reconnections: a gateway may go by it, the service "
        "only checks its form"
    )
    return [
        {"name": ROUTE_QUERY, "in": "query", "schema": ID, "description": text},
        {"name": ROUTE_HEADER, "in": "header", "schema": ID, "description": text},
    ]


def _models() -> Json:
    name = [{"name": "name", "in": "path", "required": True, "schema": MODEL, "example": "tpsm"}]
    performance = _operation(
        "How a model fared over its recent chunks",
        _ok(_json(answers.ModelPerformance)),
        (*GUARDED, "404"),
        name,
    )
    return {
        "/v1/models": {
            "get": _operation("Every model with what it needs", _ok(_json(answers.Models)), GUARDED)
        },
        "/v1/models/{name}/performance": {"get": performance},
    }


def _media() -> Json:
    errors = (*GUARDED, "404", "408", "413", "422", "503", "504")
    recording = {
        "audio": _file("WAV, MP3, FLAC, Ogg, M4A, AAC, AIFF or WebM"),
        "userId": ID,
        "faceModelId": ID,
    }
    wish = {
        "model": MODEL,
        "targetFps": {"type": "number", "minimum": 15, "maximum": 25, "default": 20},
        "size": {"type": "integer", "enum": [128, 256, 512], "default": 256},
    }
    movie = {
        "200": {
            "description": "H.264 and AAC, with a note in its metadata that it is synthetic",
            "content": _binary("video/mp4"),
        }
    }
    render = _operation(
        "A recording becomes an MP4 with sound",
        movie,
        errors,
        body=_form(recording | wish, "audio"),
    )
    test = _form(recording, "audio") | {
        "application/json": {"schema": _reference(answers.BenchmarkRequest), "example": TEST}
    }
    benchmark = _operation(
        "Try every model that the face supports on one recording",
        _ok(_json(answers.Benchmark)),
        errors,
        body=test,
    )
    return {"/v1/render": {"post": render}, "/v1/benchmark": {"post": benchmark}}


def _faces() -> Json:
    user = [{"name": "userId", "in": "path", "required": True, "schema": ID, "example": "demo"}]
    face = [
        *user,
        {"name": "faceModelId", "in": "path", "required": True, "schema": ID, "example": "demo"},
    ]
    photo = {
        "photo": _file("JPEG, PNG or WebP, up to 20 MiB and 25 megapixels"),
        "consent": {
            "const": "true",
            "description": "The person shown agreed to be animated; recorded with its time",
        },
        "id": ID,
    }
    created = {"201": {"description": "The face model", "content": _json(answers.FaceModel)}}
    enrol = _operation(
        "A photo becomes a face model",
        created,
        (*GUARDED, "408", "422", "503"),
        user,
        _form(photo, "photo", "consent"),
    )
    gone = {"204": {"description": "It is deleted, with all that was derived from it"}}
    picture = _ok(_binary("image/jpeg"))
    return {
        "/v1/users/{userId}/face-models": {
            "get": _operation(
                "Ids of a user's face models",
                _ok(_json(answers.FaceModels)),
                (*GUARDED, "503"),
                user,
            ),
            "post": enrol,
        },
        "/v1/users/{userId}/face-models/{faceModelId}": {
            "get": _operation(
                "One face model",
                _ok(_json(answers.FaceModelDetails)),
                (*GUARDED, "404", "422", "503"),
                face,
            ),
            "delete": _operation("Delete a face model", gone, (*GUARDED, "404", "503"), face),
        },
        "/v1/users/{userId}/face-models/{faceModelId}/preview.jpg": {
            "get": _operation("The face's picture", picture, (*GUARDED, "404", "422", "503"), face)
        },
    }


def _operation(
    summary: str,
    outcomes: Json,
    errors: tuple[str, ...],
    parameters: list[Json] | None = None,
    body: Json | None = None,
) -> Json:
    refused = {status: _error(status) for status in (*EVERYWHERE, *errors)}
    described: Json = {"summary": summary, "responses": outcomes | refused}
    if parameters:
        described["parameters"] = parameters
    if body:
        described["requestBody"] = {"required": True, "content": body}
    return described


def _open(summary: str, content: Json, outcomes: Json | None = None) -> Json:
    """Nobody is asked for a token."""
    return _operation(summary, _ok(content) | (outcomes or {}), ()) | {"security": []}


def _ok(content: Json) -> Json:
    return {"200": {"description": "OK", "content": content}}


def _error(status: str) -> Json:
    described: Json = {"description": ERRORS[status], "content": _json(ErrorMessage)}
    if status == "503":
        described["headers"] = {
            "Retry-After": {"description": "Seconds", "schema": {"type": "integer"}}
        }
    return described


def _json(record: type) -> Json:
    return {"application/json": {"schema": _reference(record)}}


def _reference(record: type) -> Json:
    return {"$ref": f"#/components/schemas/{record.__name__}"}


def _binary(media_type: str) -> Json:
    return {media_type: {"schema": {"type": "string", "contentMediaType": media_type}}}


def _form(fields: Json, *required: str) -> Json:
    return {
        "multipart/form-data": {
            "schema": {"type": "object", "properties": fields, "required": list(required)}
        }
    }


def _file(description: str) -> Json:
    return {"type": "string", "format": "binary", "description": description}
