"""Open the configured face store."""

from __future__ import annotations

from pathlib import Path

from orchestrator.core.config import ConfigError
from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.faces.storage.builtin_faces import BuiltinFaces
from orchestrator.faces.storage.circuit_breaker import CircuitBreakerStore
from orchestrator.faces.storage.errors import ErrorTranslatingStore
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, face_prefix
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.faces.storage.store import FaceStore


def open_store(root: Path, bucket: str = "") -> FaceStore:
    """A bucket, or a local folder, made on the first write; with the shipped demo face in view."""
    own = CircuitBreakerStore(_own_store(root, bucket), face_prefix(DEMO_USER, DEMO_FACE))
    return ErrorTranslatingStore(BuiltinFaces(own, LocalFaceStore(SHIPPED_FACES)))


def _own_store(root: Path, bucket: str) -> FaceStore:
    if not bucket:
        return LocalFaceStore(root)
    try:
        from orchestrator.faces.storage.gcs import (
            BucketFaceStore,
        )  # Google's client takes a second to import
    except ImportError as error:
        raise ConfigError(
            f"faces in a bucket need Google's client: pip install 'lipsync-service[gcs]' ({error})"
        ) from None

    return BucketFaceStore(bucket)
