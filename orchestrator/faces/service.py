"""Faces in memory: loaded once for all who ask at once, prepared once per model and size, and never
beyond a budget.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.cache import LruCache, SingleFlight
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel, RgbImage
from orchestrator.faces.active_face import ActiveFaces, no_active_face
from orchestrator.faces.compatibility import Compatibility, check_compatibility
from orchestrator.faces.enrolment.framing import cut_out, frame_head
from orchestrator.faces.ids import check_id
from orchestrator.faces.preparation.cache import PreparedFaces
from orchestrator.faces.preparation.derived_files import DerivedFiles
from orchestrator.faces.preparation.encoder import FaceEncoder
from orchestrator.faces.preparation.solutions import FaceSolutions
from orchestrator.faces.revalidation import PATIENCE_S, Revalidations
from orchestrator.faces.storage.errors import StorageError
from orchestrator.faces.storage.face_listing import face_ids, face_not_found, is_unfinished
from orchestrator.faces.storage.layout import ROOT, face_prefix
from orchestrator.faces.storage.read_face import read_face_model
from orchestrator.faces.storage.replacement import version_of
from orchestrator.faces.storage.store import FaceStore
from orchestrator.inference import Inference
from orchestrator.models.base import ModelAdapter

FaceKey: TypeAlias = tuple[str, str]
"""User id and face model id."""

KEYPOINT_BYTES: Final = 200
"""What a `Keypoint` with its two floats and its name takes, measured with sys.getsizeof."""

ENCODING_DEADLINE_S: Final = 60.0
"""Time that networks have to look at a face for the first time: on a CPU the largest take ten
seconds.
"""

MAX_PRELOADS: Final = 16
"""So that a long list of users leaves room in the storage's line for sessions that begin meanwhile.
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class PreprocessedFace:
    """A face as networks like it: upright, centred, with margins."""

    aligned_face: RgbImage
    """`[side, side, 3]`, 256 to 512 pixels a side."""
    landmarks: NDArray[np.float32]
    """`[n, 2]`, pixels of `aligned_face`."""
    embedding: tuple[float, ...]
    texture_map: RgbImage | None = None
    mesh_data: NDArray[np.float32] | None = None
    """Optional in the specification; no model of this service needs the two, so they are not
    computed.
    """


def _patience() -> float:
    return asyncio.get_running_loop().time() + PATIENCE_S


def face_bytes(face: FaceModel) -> int:
    """Memory a face model takes: the picture and the points; the rest is small."""
    return (
        face.neutral_pose.nbytes
        + KEYPOINT_BYTES * len(face.keypoints)
        + 32 * sum(map(len, face.embeddings))
    )


def _preprocess(face: FaceModel) -> PreprocessedFace:
    points = face.landmarks().astype(np.float64)
    framing = frame_head(points, (face.resolution.width, face.resolution.height))
    if not 8.0 <= framing.face_length <= 2.0 * max(face.neutral_pose.shape):
        message = (
            f"face model {face.id!r} cannot be used: keypoints.json: the points span no face in "
            "the picture"
        )
        raise LipSyncError(
            LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE,
            message,
            recoverable=False,
            details={"file": "keypoints.json"},
        )
    embedding = face.embeddings[0] if face.embeddings else ()
    return PreprocessedFace(
        cut_out(face.neutral_pose, framing),
        framing.to_picture(points).astype(np.float32),
        embedding,
    )


class FaceModelCacheService:
    """Face models and what models derive from them, each in an LRU bounded by count and by bytes.
    One event loop owns it.
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
        self._faces: LruCache[FaceKey, FaceModel] = LruCache(
            max_items=max_faces, max_bytes=max_face_bytes, size_of=face_bytes
        )
        files = DerivedFiles(self._store)
        self._solutions = FaceSolutions(files)
        encoder = FaceEncoder(files, deadline_s=encoding_deadline_s)
        self._prepared = PreparedFaces(
            encoder, self._solutions, max_items=max_derived, max_bytes=max_derived_bytes
        )
        self._loads: SingleFlight[FaceKey, FaceModel] = SingleFlight()
        self._checks: Revalidations[FaceKey, bool] = Revalidations()
        self.on_swap: Callable[[str, str, FaceModel], None] = lambda user_id, old_id, face: None
        """Told by `hot_swap_model`: whoever holds the old face goes on with the new one."""

    async def close(self) -> None:
        """End what goes on beside the sessions; the store is its owner's to close."""
        await self._solutions.close()
        await self._checks.close()
        await self._active.close()

    @property
    def cached_bytes(self) -> int:
        """Bytes held by both caches."""
        return self._faces.total_bytes + self._prepared.total_bytes

    async def load_face_model(self, user_id: str, model_id: str | None = None) -> FaceModel:
        """The face, from memory or storage; without `model_id` the one that the user's
        active_model.json names, or should name.

        Storage is asked each time whether the files changed, and read only when they did. Where it
        does not say so within `PATIENCE_S`, a face in memory is served as it is, and what storage
        says later counts for who comes then. Raises FACE_MODEL_NOT_FOUND, FACE_MODEL_INCOMPATIBLE
        naming file and field, INVALID_MESSAGE for an id that is none. Errors are not remembered.
        """
        until_s, user_id = _patience(), check_id(user_id, "userId")
        if model_id is None:
            return await self._load_active(until_s, user_id)
        return await self._load_current(until_s, (user_id, check_id(model_id, "faceModelId")))

    async def _load_active(self, until_s: float, user_id: str) -> FaceModel:
        """Where the active face is gone, another one of the user's becomes it."""
        active = await self._active.within(until_s, user_id)
        try:
            return await self._load_current(until_s, (user_id, active))
        except LipSyncError as error:
            if error.code is not LipSyncErrorCode.FACE_MODEL_NOT_FOUND or error.recoverable:
                raise
        settled = await self._active.settle(user_id)
        if settled is None:
            raise no_active_face(user_id)
        return await self._load_current(until_s, (user_id, settled))

    async def _load_current(self, until_s: float, key: FaceKey) -> FaceModel:
        known = self._faces.get(key)
        if known is not None and await self._checks.within(
            until_s, key, lambda: self._is_current(key, known), True
        ):
            return known
        return await self._loads.run(key, lambda: self._load(key, known))

    async def active_model_id(self, user_id: str) -> str:
        """The face a user speaks with when a message names none, which is then in memory; raises as
        `load_face_model`.
        """
        return (await self.load_face_model(user_id)).id

    async def list_face_models(self, user_id: str) -> tuple[str, ...]:
        """Ids of the user's face models, sorted."""
        return face_ids(await self._store.blobs(f"{ROOT}/{check_id(user_id, 'userId')}"))

    def validate_compatibility(self, model: FaceModel) -> Compatibility:
        """Which lip-sync models can drive the face; see `compatibility`."""
        return check_compatibility(model)

    async def get_preprocessed_data(
        self, user_id: str, model_id: str | None = None
    ) -> PreprocessedFace:
        """The face cut out and turned upright as at enrolment, whoever made the face model."""
        face = await self.load_face_model(user_id, model_id)
        return await asyncio.to_thread(_preprocess, face)

    def prepared(self, face: FaceModel, adapter: ModelAdapter, size: int) -> Any | None:
        """What `optimize_for_model` would give, if it is in memory."""
        return self._prepared.get(face, adapter, size)

    async def optimize_for_model(
        self, face: FaceModel, adapter: ModelAdapter, size: int, inference: Inference | None = None
    ) -> Any:
        """What `adapter.generate` needs of the face at `size` pixels, made once for all who ask and
        held by the face's version.

        `adapter.prepare` runs in a worker thread. For an adapter that encodes faces, `inference`
        runs its networks over it, unless their answer is stored beside the face: that can take as
        long as the encoding deadline, and raises what they raise. Raises FACE_MODEL_INCOMPATIBLE
        where the face does not serve, MODEL_LOAD_FAILED where memory does not suffice.
        """
        return await self._prepared.prepare(face, adapter, size, inference)

    async def preload_for_users(self, user_ids: Iterable[str]) -> tuple[str, ...]:
        """Have the active faces of these users in memory; returns the users whose face could be
        loaded.
        """
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
        """Have a face in memory that was stored just now, in place of what was stored before under
        its name.
        """
        key = (face.user_id, face.id)
        self._checks.drop(key)
        self._keep(key, face)

    async def activate(self, user_id: str, model_id: str) -> FaceModel:
        """Make a face the user's active one, once it has been loaded without error."""
        face = await self.load_face_model(user_id, model_id)
        await self._active.write(user_id, model_id)
        return face

    async def hot_swap_model(self, user_id: str, old_id: str, new_id: str) -> FaceModel:
        """Load the new face, make it active if the old one was, give it to the sessions that hold
        the old one, and forget that.
        """
        face = await self.load_face_model(user_id, new_id)
        if await self._is_active(user_id, check_id(old_id, "faceModelId")):
            await self.activate(user_id, new_id)
        self._forget((user_id, old_id))
        self.on_swap(user_id, old_id, face)
        return face

    async def delete_face_model(self, user_id: str, model_id: str) -> None:
        """Remove a face from storage and memory; the user's active face, if it is not there any
        more, becomes another or none.

        That is seen to also for a face that is gone already: its deletion may have ended half-way.
        """
        key = (check_id(user_id, "userId"), check_id(model_id, "faceModelId"))
        was_there = await self._store.delete(face_prefix(*key))
        self._checks.drop(key)
        self._forget(key)
        await self._active.settle(user_id)
        if not was_there:
            raise face_not_found(user_id, model_id)

    async def _is_active(self, user_id: str, model_id: str) -> bool:
        """By storage, not by memory: what is written next depends on it."""
        try:
            return await self._active.read(check_id(user_id, "userId")) == model_id
        except LipSyncError:
            return False

    async def _is_current(self, key: FaceKey, known: FaceModel) -> bool:
        """Whether a face in memory is still the stored one, or cannot be found out not to be;
        another one is forgotten.
        """
        try:
            blobs = await self._store.blobs(face_prefix(*key))
        except StorageError as error:
            logger.warning("face %s of %s speaks from memory: %s", key[1], key[0], error)
            return True
        current = is_unfinished(blobs) or version_of(blobs) == known.version
        if not current:
            self._forget(key)
        return current

    async def _load(self, key: FaceKey, known: FaceModel | None) -> FaceModel:
        """From storage; where it fails half-way, or others write the face, what was `known` is
        better than nothing.
        """
        try:
            face = await read_face_model(self._store, *key)
        except LipSyncError as error:
            if known is None or not error.recoverable:
                raise
            logger.warning("face %s of %s speaks from memory: %s", key[1], key[0], error)
            face = known
        self._keep(key, face)
        return face

    def _keep(self, key: FaceKey, face: FaceModel) -> None:
        self._faces.put(key, face)
        self._prepared.forget(*key, but_version=face.version)

    def _forget(self, key: FaceKey) -> None:
        self._faces.discard(key)
        self._prepared.forget(*key)
