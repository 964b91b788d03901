"""Has a face seen by the networks that look at nothing else: once, and never again while face and networks stay the same."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from orchestrator.errors import LipSyncError, LipSyncErrorCode
from orchestrator.face.encodings import MAX_FILE_BYTES, Encodings, checked, fingerprint, from_npz, to_npz
from orchestrator.face.package import METADATA
from orchestrator.face.store import FaceStore, derived_prefix, face_prefix, version_of
from orchestrator.inference import Inference, Tensors
from orchestrator.models.base import EncodesFace, FaceInputs, ModelAdapter
from orchestrator.types import FaceModel

logger = logging.getLogger(__name__)

STORE_TIMEOUT_S: Final = 30.0
"""Storage that takes longer is done without: the networks can be asked instead, and the answer kept in memory."""


class FaceEncodingAdapter(EncodesFace, ModelAdapter, Protocol):
    """A model some of whose networks see nothing but the face."""


class FaceEncoder:
    """Encodings of faces, from the folder beside the face or from the networks; it remembers none itself."""

    def __init__(self, store: FaceStore, *, deadline_s: float) -> None:
        self._store = store
        self._deadline_s = deadline_s
        self._told_of_writing = False

    async def encodings(
        self, face: FaceModel, adapter: FaceEncodingAdapter, size: int, prepared: FaceInputs, inference: Inference
    ) -> Encodings:
        """Stored ones where there are any of these very networks; otherwise new ones, which are then stored.

        Raises what the networks raise, and TIMEOUT when they take longer than the encoder's deadline. Storage that cannot be
        read or written is no error.
        """
        networks = await _identities(adapter, inference)
        if networks is None:
            return await self._encode(adapter, prepared, inference)
        name = await asyncio.to_thread(_file_name, face, adapter, size, networks)
        stored = await self._load(face, adapter, name)
        if stored is not None:
            return stored
        made = await self._encode(adapter, prepared, inference)
        if await _identities(adapter, inference) == networks:
            await self._keep(face, name, made)
        return made

    async def _encode(self, adapter: FaceEncodingAdapter, prepared: FaceInputs, inference: Inference) -> Encodings:
        deadline = asyncio.get_running_loop().time() + self._deadline_s

        async def infer(model: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
            return await inference.infer(model, inputs, deadline=deadline)

        try:
            async with asyncio.timeout_at(deadline):
                answered = await adapter.encode(infer, prepared)
        except TimeoutError:
            message = f"{adapter.spec.model.value} did not encode the face within {self._deadline_s:g} s (face_encoding_deadline_ms)"
            raise LipSyncError(LipSyncErrorCode.TIMEOUT, message) from None
        return await asyncio.to_thread(checked, adapter.spec.model, adapter.encoding, answered)

    async def _load(self, face: FaceModel, adapter: FaceEncodingAdapter, name: str) -> Encodings | None:
        """What lies in the file; None where there is none, or where it is not what the adapter's networks would say."""
        folder = derived_prefix(face.user_id, face.id)
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                sizes = {blob.key: blob.size_bytes for blob in await self._store.blobs(folder)}
                key = f"{folder}/{name}"
                if not 0 < sizes.get(key, 0) <= MAX_FILE_BYTES:
                    return None
                data = await self._store.read(key)
            return None if data is None else await asyncio.to_thread(from_npz, data, adapter.encoding)
        except (OSError, ValueError) as error:
            logger.warning("face %s: %s cannot be used and is made anew: %s", face.id, name, error or "storage does not answer")
            return None

    async def _keep(self, face: FaceModel, name: str, made: Encodings) -> None:
        """Store the encodings where storage lets us; the first failure in a row is told."""
        try:
            async with asyncio.timeout(STORE_TIMEOUT_S):
                await self._write(face, name, made)
            self._told_of_writing = False
        except (OSError, ValueError, LipSyncError) as error:
            if not self._told_of_writing:
                logger.warning("what models computed from faces cannot be stored, and has to be computed again after a restart: %s", error)
            self._told_of_writing = True

    async def _write(self, face: FaceModel, name: str, made: Encodings) -> None:
        prefix, folder = face_prefix(face.user_id, face.id), derived_prefix(face.user_id, face.id)
        if version_of(await self._store.blobs(prefix)) != face.version:
            return  # the face was replaced or deleted meanwhile
        data = await asyncio.to_thread(to_npz, made)
        if len(data) > MAX_FILE_BYTES:
            return
        await self._store.write(f"{folder}/{name}", data)
        if f"{prefix}/{METADATA}" not in [blob.key for blob in await self._store.blobs(prefix)]:
            await self._store.delete(f"{folder}/{name}")  # deleted while we wrote: nothing of the person may stay
        for blob in await self._store.blobs(folder):
            if _is_outdated(blob.key.rsplit("/", 1)[1], name):
                await self._store.delete(blob.key)


async def _identities(adapter: FaceEncodingAdapter, inference: Inference) -> tuple[str, ...] | None:
    """Of the networks that encode; None unless all are known."""
    found = [await inference.identity(model) for model in adapter.face_models]
    known = tuple(identity for identity in found if identity is not None)
    return known if len(known) == len(found) else None


def _file_name(face: FaceModel, adapter: FaceEncodingAdapter, size: int, networks: tuple[str, ...]) -> str:
    model, encoding = adapter.spec.model, adapter.encoding
    suffix = f".{size}" if encoding.by_size else ""
    return f"{model.value}.{fingerprint(face, model, encoding, networks)}{suffix}.npz"


def _is_outdated(other: str, name: str) -> bool:
    """Whether a file holds the same model's encodings of another face, code or network."""
    model, found = name.split(".")[:2]
    return other.startswith(f"{model}.") and not other.startswith(f"{model}.{found}.")
