"""Face cache: each face is loaded once and prepared once per model and size.

Concurrent requests share one load; count and bytes are bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel
from orchestrator.faces.active_face import ActiveFaces, no_active_face
from orchestrator.faces.cache import FaceCache
from orchestrator.faces.compatibility import Compatibility, check_compatibility
from orchestrator.faces.ids import check_id
from orchestrator.faces.preparation.cache import PreparedFaces
from orchestrator.faces.preparation.derived_files import DerivedFiles
from orchestrator.faces.preparation.encoder import FaceEncoder
from orchestrator.faces.preparation.solutions import FaceSolutions
from orchestrator.faces.preprocessing import PreprocessedFace, preprocess
from orchestrator.faces.revalidation import PATIENCE_S
from orchestrator.faces.storage.face_listing import face_ids, face_not_found
from orchestrator.faces.storage.layout import ROOT, face_prefix
from orchestrator.faces.storage.store import FaceStore
from orchestrator.inference import Inference
from orchestrator.models.base import ModelAdapter

ENCODING_DEADLINE_S: Final = 60.0
"""Limit for encoding a face the first time: the largest networks take 10 s on a CPU."""

MAX_PRELOADS: Final = 16
"""Concurrent preloads; leaves room in the storage's queue for sessions that begin meanwhile."""


def _deadline_s() -> float:
    return asyncio.get_running_loop().time() + PATIENCE_S


class FaceModelCacheService:
    """Cache of face models and of the data that models derive from them.

    Both are LRU caches, bounded by count and bytes. The store reports its failures as
    `StorageError`, as that of `open_store` does. One event loop owns the service.
    """

    def __init__(
        self,
        store: FaceStore,
        *,
        max_faces: int = 50,
        max_face_bytes: int = 256 * 1024 * 1024,
        max_derived: int = 100,
        max_derived_bytes: int = 1024 * 1024 * 1024,
        encoding_deadline_s: float = ENCODING_DEADLINE_S,
    ) -> None:
        self._store = store
        self._active = ActiveFaces(self._store)
        files = DerivedFiles(self._store)
        self._solutions = FaceSolutions(files)
        encoder = FaceEncoder(files, deadline_s=encoding_deadline_s)
        self._prepared = PreparedFaces(
            encoder, self._solutions, max_items=max_derived, max_bytes=max_derived_bytes
        )
        self._faces = FaceCache(
            store, self._prepared, max_items=max_faces, max_bytes=max_face_bytes
        )
        self.on_swap: Callable[[str, str, FaceModel], None] = lambda user_id, old_id, face: None
        """Called by `hot_swap_model`; holders of the old face continue with the new one."""

    async def close(self) -> None:
        """Cancel background work; the owner of the store closes the store."""
        await self._solutions.close()
        await self._faces.close()
        await self._active.close()

    @property
    def cached_bytes(self) -> int:
        """Bytes held by both caches."""
        return self._faces.total_bytes + self._prepared.total_bytes

    async def load_face_model(self, user_id: str, model_id: str | None = None) -> FaceModel:
        """Load a face from memory or storage; without `model_id` the user's active face.

        Each call checks storage for changes, and reads the files only after a change. Without a
        response within `PATIENCE_S` a face in memory is used, and the check counts for later
        callers.

        Raises FACE_MODEL_NOT_FOUND, FACE_MODEL_INCOMPATIBLE naming file and field, and
        INVALID_MESSAGE for a malformed id. Errors are not cached.
        """
        until_s, user_id = _deadline_s(), check_id(user_id, "userId")
        if model_id is None:
            return await self._load_active(until_s, user_id)
        return await self._faces.load(until_s, (user_id, check_id(model_id, "faceModelId")))

    async def _load_active(self, until_s: float, user_id: str) -> FaceModel:
        """Load the active face; where it is gone, another face of the user becomes active."""
        active = await self._active.within(until_s, user_id)
        try:
            return await self._faces.load(until_s, (user_id, active))
        except LipSyncError as error:
            if error.code is not LipSyncErrorCode.FACE_MODEL_NOT_FOUND or error.recoverable:
                raise
        settled = await self._active.settle(user_id)
        if settled is None:
            raise no_active_face(user_id)
        return await self._faces.load(until_s, (user_id, settled))

    async def active_model_id(self, user_id: str) -> str:
        """Id of the active face, which is in memory afterwards; raises as `load_face_model`."""
        return (await self.load_face_model(user_id)).id

    async def list_face_models(self, user_id: str) -> tuple[str, ...]:
        """Ids of the user's face models, sorted."""
        return face_ids(await self._store.blobs(f"{ROOT}/{check_id(user_id, 'userId')}"))

    def validate_compatibility(self, model: FaceModel) -> Compatibility:
        """Lip-sync models that can drive the face; see `compatibility`."""
        return check_compatibility(model)

    async def get_preprocessed_data(
        self, user_id: str, model_id: str | None = None
    ) -> PreprocessedFace:
        """Face cut out and turned upright as at enrolment, for face models of any origin."""
        face = await self.load_face_model(user_id, model_id)
        return await asyncio.to_thread(preprocess, face)

    def prepared(self, face: FaceModel, adapter: ModelAdapter, size: int) -> Any | None:
        """Result of `optimize_for_model`, if it is in memory."""
        return self._prepared.get(face, adapter, size)

    async def optimize_for_model(
        self, face: FaceModel, adapter: ModelAdapter, size: int, inference: Inference | None = None
    ) -> Any:
        """Prepare a face for `adapter.generate` at `size` pixels, cached by the face's version.

        Concurrent callers share one preparation. `adapter.prepare` runs in a worker thread. For an
        adapter that encodes faces, `inference` runs its networks, unless the encoding is stored
        beside the face. That takes up to the encoding deadline, and raises what the networks raise.

        Raises FACE_MODEL_INCOMPATIBLE for an unsuitable face, MODEL_LOAD_FAILED where memory does
        not suffice.
        """
        return await self._prepared.prepare(face, adapter, size, inference)

    async def preload_for_users(self, user_ids: Iterable[str]) -> tuple[str, ...]:
        """Load the active faces of these users; return the users whose face could be loaded."""
        users, turns = tuple(user_ids), asyncio.Semaphore(MAX_PRELOADS)

        async def load(user_id: str) -> FaceModel:
            async with turns:
                return await self.load_face_model(user_id)

        results = await asyncio.gather(*map(load, users), return_exceptions=True)
        unexpected = [
            result
            for result in results
            if isinstance(result, BaseException) and not isinstance(result, LipSyncError)
        ]
        if unexpected:
            raise unexpected[0]
        return tuple(
            user
            for user, result in zip(users, results, strict=True)
            if isinstance(result, FaceModel)
        )

    def hold(self, face: FaceModel) -> None:
        """Cache a face that was just stored, replacing the previous one of that id."""
        self._faces.put(face)

    async def activate(self, user_id: str, model_id: str) -> FaceModel:
        """Load a face and make it the user's active one."""
        face = await self.load_face_model(user_id, model_id)
        await self._active.write(user_id, model_id)
        return face

    async def hot_swap_model(self, user_id: str, old_id: str, new_id: str) -> FaceModel:
        """Load the new face and give it to the sessions that hold the old one.

        The new face becomes active if the old one was; the old one is evicted.
        """
        face = await self.load_face_model(user_id, new_id)
        if await self._is_active(user_id, check_id(old_id, "faceModelId")):
            await self.activate(user_id, new_id)
        self._faces.evict((user_id, old_id))
        self.on_swap(user_id, old_id, face)
        return face

    async def delete_face_model(self, user_id: str, model_id: str) -> None:
        """Remove a face from storage and memory.

        If it was the active face, another one becomes active, or none. That also happens for a face
        that is already gone, since its deletion may have stopped half-way.
        """
        key = (check_id(user_id, "userId"), check_id(model_id, "faceModelId"))
        was_there = await self._store.delete(face_prefix(*key))
        self._faces.drop(key)
        await self._active.settle(user_id)
        if not was_there:
            raise face_not_found(user_id, model_id)

    async def _is_active(self, user_id: str, model_id: str) -> bool:
        """Read from storage, not from memory: the next write depends on it."""
        try:
            return await self._active.read(check_id(user_id, "userId")) == model_id
        except LipSyncError:
            return False
