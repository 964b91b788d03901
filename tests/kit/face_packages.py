"""Face models made up for tests: a mesh of points in the right places on a picture that shows
nobody.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import simplejpeg

from orchestrator.faces.storage.layout import face_prefix
from orchestrator.faces.storage.store import FaceStore

LIPS = {61: (0.4, 0.7), 291: (0.6, 0.7), 78: (0.42, 0.7), 308: (0.58, 0.7)}
LIPS |= {0: (0.5, 0.67), 13: (0.5, 0.69), 14: (0.5, 0.71), 17: (0.5, 0.73)}
FACE = {
    10: (0.5, 0.3),
    152: (0.5, 0.85),
    234: (0.3, 0.5),
    454: (0.7, 0.5),
    33: (0.4, 0.5),
    263: (0.6, 0.5),
}
"""Top and chin, cheeks, outer corners of the eyes."""


def jpeg(width: int = 256, height: int = 256) -> bytes:
    """A smooth gradient."""
    ramp = (
        np.linspace(40, 200, width * height, dtype=np.float32)
        .reshape(height, width)
        .astype(np.uint8)
    )
    data: bytes = simplejpeg.encode_jpeg(np.repeat(ramp[..., None], 3, axis=2), 90, "RGB")
    return data


def points(count: int = 478, side: int = 256) -> list[dict[str, Any]]:
    """`count` points inside a picture of `side` pixels, with a mouth."""
    turns = np.linspace(0, 2 * np.pi, count)
    places = np.stack([0.5 + 0.3 * np.cos(turns), 0.5 + 0.4 * np.sin(turns)], axis=1)
    for index, place in (LIPS | FACE).items():
        places[index] = place
    return [
        {"x": x * side, "y": y * side, "confidence": 0.9, "landmark": str(i)}
        for i, (x, y) in enumerate(places.tolist())
    ]


def metadata(**fields: Any) -> dict[str, Any]:
    """The fields of the layout, and those given."""
    base = {"id": "f", "userId": "ann", "resolution": {"width": 256, "height": 256}}
    return base | {"qualityScore": 80, "createdAt": "2026-01-01T00:00:00Z", "version": "1"} | fields


def package(side: int = 256, **changes: Any) -> dict[str, bytes]:
    """The files of a good face model; a keyword replaces a file (`keypoints`, `metadata`,
    `embeddings`, `picture`), None leaves it out.
    """
    contents: dict[str, Any] = {
        "metadata": metadata(resolution={"width": side, "height": side}),
        "keypoints": points(side=side),
        "embeddings": [{"vector": [0.1, 0.2], "confidence": 1.0}],
        "picture": jpeg(side, side),
    } | changes
    names = {"picture": "neutral_pose.jpg"}
    files = {
        names.get(key, f"{key}.json"): value for key, value in contents.items() if value is not None
    }
    return {
        name: value if isinstance(value, bytes) else json.dumps(value).encode()
        for name, value in files.items()
    }


async def put(store: FaceStore, user: str, face: str, files: dict[str, bytes]) -> None:
    """Store a face model as other software would."""
    await store.replace(face_prefix(user, face), files)
