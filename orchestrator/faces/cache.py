"""Cache of face models: loaded once for concurrent callers, revalidated on each read."""

from __future__ import annotations

import logging
from typing import Final, TypeAlias

from orchestrator.core.cache import LruCache, SingleFlight
from orchestrator.core.errors import LipSyncError
from orchestrator.core.types import FaceModel
from orchestrator.faces.preparation.cache import PreparedFaces
from orchestrator.faces.revalidation import Revalidations
from orchestrator.faces.storage.errors import StorageError
from orchestrator.faces.storage.face_listing import is_unfinished
from orchestrator.faces.storage.layout import face_prefix
from orchestrator.faces.storage.read_face import read_face_model
from orchestrator.faces.storage.replacement import version_of
from orchestrator.faces.storage.store import FaceStore

FaceKey: TypeAlias = tuple[str, str]
"""User id and face model id."""

KEYPOINT_BYTES: Final = 200
"""Memory of a `Keypoint` with its two floats and its name, by sys.getsizeof."""

logger = logging.getLogger(__name__)


def face_bytes(face: FaceModel) -> int:
    """Memory of a face model: picture, key points and embeddings; the rest is negligible."""
    return (
        face.neutral_pose.nbytes
        + KEYPOINT_BYTES * len(face.keypoints)
        + 32 * sum(map(len, face.embeddings))
    )


class FaceCache:
    """LRU cache of face models. An evicted or changed face leaves `prepared` as well.

    One event loop owns it.
    """

    def __init__(
        self, store: FaceStore, prepared: PreparedFaces, *, max_items: int, max_bytes: int
    ) -> None:
        self._store = store
        self._prepared = prepared
        self._faces: LruCache[FaceKey, FaceModel] = LruCache(
            max_items=max_items, max_bytes=max_bytes, size_of=face_bytes
        )
        self._loads: SingleFlight[FaceKey, FaceModel] = SingleFlight()
        self._checks: Revalidations[FaceKey, bool] = Revalidations()

    async def close(self) -> None:
        """Cancel background revalidations."""
        await self._checks.close()

    @property
    def total_bytes(self) -> int:
        """Bytes of the cached face models."""
        return self._faces.total_bytes

    async def load(self, until_s: float, key: FaceKey) -> FaceModel:
        """Face from the cache, unless storage reports a change by `until_s` of the loop's clock.

        Raises FACE_MODEL_NOT_FOUND and FACE_MODEL_INCOMPATIBLE.
        """
        known = self._faces.get(key)
        if known is not None and await self._checks.within(
            until_s, key, lambda: self._is_current(key, known), True
        ):
            return known
        return await self._loads.run(key, lambda: self._load(key, known))

    def put(self, face: FaceModel) -> None:
        """Cache a face that was just stored, replacing the previous one of that id."""
        key = (face.user_id, face.id)
        self._checks.drop(key)
        self._keep(key, face)

    def evict(self, key: FaceKey) -> None:
        """Evict a face and the data derived from it."""
        self._faces.discard(key)
        self._prepared.forget(*key)

    def drop(self, key: FaceKey) -> None:
        """Evict a face that was deleted, and cancel its revalidation."""
        self._checks.drop(key)
        self.evict(key)

    async def _is_current(self, key: FaceKey, known: FaceModel) -> bool:
        """Check a cached face against storage, and evict an outdated one.

        A face counts as current while storage fails or others write it.
        """
        try:
            blobs = await self._store.blobs(face_prefix(*key))
        except StorageError as error:
            logger.warning("face %s of %s: using the cached copy: %s", key[1], key[0], error)
            return True
        current = is_unfinished(blobs) or version_of(blobs) == known.version
        if not current:
            self.evict(key)
        return current

    async def _load(self, key: FaceKey, known: FaceModel | None) -> FaceModel:
        """Load from storage; `known` is the fallback for failures that may pass."""
        try:
            face = await read_face_model(self._store, *key)
        except LipSyncError as error:
            if known is None or not error.recoverable:
                raise
            logger.warning("face %s of %s: using the cached copy: %s", key[1], key[0], error)
            face = known
        self._keep(key, face)
        return face

    def _keep(self, key: FaceKey, face: FaceModel) -> None:
        self._faces.put(key, face)
        self._prepared.forget(*key, but_version=face.version)
