"""Face encodings: run the networks that depend on the face only, once per face and network."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol

from numpy.typing import NDArray

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel
from orchestrator.faces.preparation.derived_files import DerivedFiles
from orchestrator.faces.preparation.encoding_file import (
    MAX_FILE_BYTES,
    Encodings,
    checked,
    fingerprint,
    from_npz,
    to_npz,
)
from orchestrator.inference import Inference, Tensors
from orchestrator.models.base import EncodesFace, FaceInputs, ModelAdapter

STORE_TIMEOUT_S: Final = 30.0
"""Limit for storage; after it the networks run instead, and the result is cached."""


class FaceEncodingAdapter(EncodesFace, ModelAdapter, Protocol):
    """Model with networks that depend on the face only."""


class FaceEncoder:
    """Encodings of faces from the stored file or from the networks; caches none itself."""

    def __init__(self, files: DerivedFiles, *, deadline_s: float) -> None:
        self._files = files
        self._deadline_s = deadline_s

    async def encodings(
        self,
        face: FaceModel,
        adapter: FaceEncodingAdapter,
        size: int,
        prepared: FaceInputs,
        inference: Inference,
    ) -> Encodings:
        """Return the stored encodings of these networks, or compute and store them.

        Raises the errors of the networks, and TIMEOUT after the encoder's deadline. Storage that
        cannot be read or written is no error.
        """
        networks = await _identities(adapter, inference)
        if networks is None:
            return await self._encode(adapter, prepared, inference)
        name = await asyncio.to_thread(_file_name, face, adapter, size, networks)
        stored = await self._files.load(
            face,
            name,
            lambda data: from_npz(data, adapter.encoding),
            max_bytes=MAX_FILE_BYTES,
            timeout_s=STORE_TIMEOUT_S,
        )
        if stored is not None:
            return stored
        made = await self._encode(adapter, prepared, inference)
        if await _identities(adapter, inference) == networks:
            await self._files.keep(
                face,
                name,
                lambda: to_npz(made),
                max_bytes=MAX_FILE_BYTES,
                timeout_s=STORE_TIMEOUT_S,
            )
        return made

    async def _encode(
        self, adapter: FaceEncodingAdapter, prepared: FaceInputs, inference: Inference
    ) -> Encodings:
        deadline = asyncio.get_running_loop().time() + self._deadline_s

        async def infer(model: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
            return await inference.infer(model, inputs, deadline=deadline)

        try:
            async with asyncio.timeout_at(deadline):
                answered = await adapter.encode(infer, prepared)
        except TimeoutError:
            message = (
                f"{adapter.spec.model.value} did not encode the face within {self._deadline_s:g} "
                "s (face_encoding_deadline_ms)"
            )
            raise LipSyncError(LipSyncErrorCode.TIMEOUT, message) from None
        return await asyncio.to_thread(checked, adapter.spec.model, adapter.encoding, answered)


async def _identities(adapter: FaceEncodingAdapter, inference: Inference) -> tuple[str, ...] | None:
    """Identities of the encoding networks; None unless all are known."""
    found = [await inference.identity(model) for model in adapter.face_models]
    known = tuple(identity for identity in found if identity is not None)
    return known if len(known) == len(found) else None


def _file_name(
    face: FaceModel, adapter: FaceEncodingAdapter, size: int, networks: tuple[str, ...]
) -> str:
    model, encoding = adapter.spec.model, adapter.encoding
    suffix = f".{size}" if encoding.by_size else ""
    return f"{model.value}.{fingerprint(face, model, encoding, networks)}{suffix}.npz"
