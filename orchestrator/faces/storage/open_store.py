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
    """Open a bucket, or a local folder that the first write creates, with the built-in demo face.

    Every failure of the returned store is a `StorageError`. Raises `ConfigError` where a bucket
    cannot be opened.
    """
    own = CircuitBreakerStore(_own_store(root, bucket), face_prefix(DEMO_USER, DEMO_FACE))
    return ErrorTranslatingStore(BuiltinFaces(own, LocalFaceStore(SHIPPED_FACES)))


def _own_store(root: Path, bucket: str) -> FaceStore:
    if not bucket:
        return LocalFaceStore(root)
    try:
        # Imported on demand: Google's client takes a second to import.
        from orchestrator.faces.storage.gcs import BucketFaceStore
    except ImportError as error:
        raise ConfigError(
            f"faces in a bucket need Google's client: pip install 'lipsync-service[gcs]' ({error})"
        ) from None

    return BucketFaceStore(bucket)
