"""JSON schemas of path parameters, query parameters and multipart forms."""

from __future__ import annotations

import base64
from typing import Final

from orchestrator.core.types import SHIPPED_MODELS
from orchestrator.protocol import ROUTE_HEADER, ROUTE_QUERY
from orchestrator.server.http.route import Json

ID: Final[Json] = {"type": "string", "pattern": "^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$"}
"""Stricter than the service: it also accepts ids that begin with a dot, except `.` and `..`."""

MODEL: Final[Json] = {"type": "string", "examples": [model.value for model in SHIPPED_MODELS]}
"""Not an enumeration: a custom model has a name of its own."""

PATH_PARAMETERS: Final[dict[str, Json]] = {
    "file": {"schema": {"type": "string"}, "example": "client.js"},
    "name": {"schema": MODEL, "example": "tpsm"},
    "userId": {"schema": ID, "example": "demo"},
    "faceModelId": {"schema": ID, "example": "demo"},
}
"""Schema and example of each parameter that occurs in a path."""

_ROUTING_KEY_TEXT: Final = (
    "Random key of the client, constant over reconnections. A gateway may route by it; the service "
    "only checks its form"
)

ROUTING_KEY: Final[tuple[Json, ...]] = (
    {"name": ROUTE_QUERY, "in": "query", "schema": ID, "description": _ROUTING_KEY_TEXT},
    {"name": ROUTE_HEADER, "in": "header", "schema": ID, "description": _ROUTING_KEY_TEXT},
)
"""The same key twice: browsers cannot send headers with a WebSocket request."""


def _file(description: str) -> Json:
    return {"type": "string", "format": "binary", "description": description}


RECORDING_FORM: Final[Json] = {
    "audio": _file("WAV, MP3, FLAC, Ogg, M4A, AAC, AIFF or WebM"),
    "userId": ID,
    "faceModelId": ID,
}

RENDER_FORM: Final[Json] = {
    **RECORDING_FORM,
    "model": MODEL,
    "targetFps": {"type": "number", "minimum": 15, "maximum": 25, "default": 20},
    "size": {"type": "integer", "enum": [128, 256, 512], "default": 256},
}

PHOTO_FORM: Final[Json] = {
    "photo": _file("JPEG, PNG or WebP, up to 20 MiB and 25 megapixels"),
    "consent": {
        "const": "true",
        "description": "The person shown agreed to be animated; stored with its time",
    },
    "id": ID,
}

BENCHMARK_EXAMPLE: Final[Json] = {
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
