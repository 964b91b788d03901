"""Cache of the data that models derive from faces.

Concurrent requests share one preparation; bytes are accounted exactly.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final, NamedTuple

from orchestrator.core.cache import LruCache, SingleFlight
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel, LipSyncModel
from orchestrator.faces.preparation.encoder import FaceEncoder, FaceEncodingAdapter
from orchestrator.faces.preparation.encoding_file import Encodings
from orchestrator.faces.preparation.solutions import FaceSolutions
from orchestrator.inference import Inference
from orchestrator.models.base import EncodesFace, FaceInputs, ModelAdapter, SolvesFace, encodes_face
from orchestrator.rendering.landmarks import UNUSABLE_POINTS

ALL_SIZES: Final = 0
"""Size in the key of encodings that do not depend on it."""

logger = logging.getLogger(__name__)


class EncodingKey(NamedTuple):
    """Key of encodings, without the networks, which stay the same while a server runs."""

    user_id: str
    face_id: str
    version: str
    model: LipSyncModel
    size: int


class InputsKey(NamedTuple):
    """Key of a prepared face, with the encodings it holds."""

    user_id: str
    face_id: str
    version: str
    model: LipSyncModel
    size: int
    encodings: EncodingKey | None


class PreparedFaces:
    """LRU cache of prepared faces and their encodings, bounded by count and bytes.

    Encodings that several sizes share are held and counted once. A prepared face never outlives its
    encodings here. One event loop owns the cache.
    """

    def __init__(
        self, encoder: FaceEncoder, solutions: FaceSolutions, *, max_items: int, max_bytes: int
    ) -> None:
        self._encoder = encoder
        self._solutions = solutions
        self._held: LruCache[InputsKey | EncodingKey, FaceInputs] = LruCache(
            max_items=max_items, max_bytes=max_bytes, size_of=lambda held: held.nbytes
        )
        self._preparations: SingleFlight[InputsKey, FaceInputs] = SingleFlight()
        self._encodings: SingleFlight[EncodingKey, Encodings] = SingleFlight()

    @property
    def total_bytes(self) -> int:
        """Bytes held."""
        return self._held.total_bytes

    def get(self, face: FaceModel, adapter: ModelAdapter, size: int) -> FaceInputs | None:
        """Prepared face, if it is in memory."""
        key = _inputs_key(face, adapter, size)
        if key.encodings is not None:
            self._held.get(key.encodings)  # as recently used as the face that holds them
        return self._held.get(key)

    async def prepare(
        self, face: FaceModel, adapter: ModelAdapter, size: int, inference: Inference | None
    ) -> FaceInputs:
        """Return the cached face or prepare it; see `FaceModelCacheService.optimize_for_model`."""
        held = self.get(face, adapter, size)
        if held is not None:
            return held
        key = _inputs_key(face, adapter, size)
        return await self._preparations.run(
            key, lambda: self._prepare(key, face, adapter, inference)
        )

    def forget(self, user_id: str, face_id: str, *, but_version: str | None = None) -> None:
        """Evict all data derived from a face, except that of `but_version`."""
        self._held.discard_where(
            lambda key: key[:2] == (user_id, face_id) and key.version != but_version
        )
        self._solutions.forget(user_id, face_id, but_version=but_version)

    async def _prepare(
        self, key: InputsKey, face: FaceModel, adapter: ModelAdapter, inference: Inference | None
    ) -> FaceInputs:
        inputs = await self._inputs(face, adapter, key.size)
        if isinstance(adapter, EncodesFace) and key.encodings is not None:
            encodings = await self._encode(
                key.encodings, face, adapter, key.size, inputs, inference
            )
            inputs = await asyncio.to_thread(adapter.with_encodings, inputs, encodings.arrays)
        self._put(key, inputs)
        if key.encodings is not None and key not in self._held:
            message = (
                f"a face prepared for {key.model.value} exceeds the memory for faces: "
                "raise face_cache_mb"
            )
            raise LipSyncError(LipSyncErrorCode.MODEL_LOAD_FAILED, message)
        return inputs

    async def _inputs(self, face: FaceModel, adapter: ModelAdapter, size: int) -> FaceInputs:
        """Inputs that the adapter makes of the face, from its solution where it has one."""
        solution = (
            await self._solutions.get(face, adapter, size)
            if isinstance(adapter, SolvesFace)
            else None
        )
        if solution is None or not isinstance(adapter, SolvesFace):
            return await asyncio.to_thread(_derived, face, adapter, size)
        return await asyncio.to_thread(adapter.prepare_solved, face, solution)

    async def _encode(
        self,
        key: EncodingKey,
        face: FaceModel,
        adapter: FaceEncodingAdapter,
        size: int,
        inputs: FaceInputs,
        inference: Inference | None,
    ) -> Encodings:
        held = self._held.get(key)
        if isinstance(held, Encodings):
            return held
        if inference is None:
            raise LipSyncError(
                LipSyncErrorCode.MODEL_LOAD_FAILED,
                f"{key.model.value} needs its networks to prepare a face",
            )

        async def make() -> Encodings:
            made = await self._encoder.encodings(face, adapter, size, inputs, inference)
            self._put(key, made)
            return made

        return await self._encodings.run(key, make)

    def _put(self, key: InputsKey | EncodingKey, value: FaceInputs) -> None:
        self._held.put(key, value)
        self._held.discard_where(
            lambda other: isinstance(other, InputsKey) and self._is_orphan(other)
        )

    def _is_orphan(self, key: InputsKey) -> bool:
        return key.encodings is not None and key.encodings not in self._held


def _derived(face: FaceModel, adapter: ModelAdapter, size: int) -> FaceInputs:
    """Inputs that the adapter makes of the face.

    Picture and numbers are valid by now, so a failure is due to the place of the points.
    """
    try:
        return adapter.prepare(face, size)
    except UNUSABLE_POINTS as error:
        model = adapter.spec.model.value
        logger.warning(
            "face %s of %s cannot be prepared for %s", face.id, face.user_id, model, exc_info=True
        )
        message = f"face model {face.id!r} cannot be used with {model}: keypoints.json: {error}"
        details = {"faceModelId": face.id, "file": "keypoints.json", "model": model}
        raise LipSyncError(
            LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, message, details=details
        ) from error


def _inputs_key(face: FaceModel, adapter: ModelAdapter, size: int) -> InputsKey:
    model, encodings = adapter.spec.model, None
    if encodes_face(adapter):
        encodings = EncodingKey(
            face.user_id,
            face.id,
            face.version,
            model,
            size if adapter.encoding.by_size else ALL_SIZES,
        )
    return InputsKey(face.user_id, face.id, face.version, model, size, encodings)
