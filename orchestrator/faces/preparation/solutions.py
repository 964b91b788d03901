"""Solutions of faces (`SolvesFace`): solved once per face and size, and stored beside it.

Adapters of one kind share them.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Final, NamedTuple, Protocol

from orchestrator.core.cache import LruCache, SingleFlight
from orchestrator.core.types import FaceModel
from orchestrator.faces.preparation.derived_files import DerivedFiles, fingerprint
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER
from orchestrator.models.base import FaceSolution, ModelAdapter, SolvesFace
from orchestrator.rendering.landmarks import UNUSABLE_POINTS

READ_TIMEOUT_S: Final = 0.25
"""Limit for reading a solution: solving takes less than 0.1 s."""

WRITE_TIMEOUT_S: Final = 30.0

CLOSE_S: Final = 1.0
"""Time for running writes at shutdown."""

MAX_HELD: Final = 4
"""Solutions in memory.

Adapters of one kind request the same one shortly after each other, and then hold it themselves.
"""

CHECKSUM_BYTES: Final = 32
"""SHA-256 before the solution in its file, since its structure shows no flipped bit."""


class SolvingAdapter(SolvesFace, ModelAdapter, Protocol):
    """Model that solves faces."""


class _Key(NamedTuple):
    user_id: str
    face_id: str
    version: str
    name: str
    size: int


class FaceSolutions:
    """Solutions from memory, from the stored file, or solved now. One event loop owns it."""

    def __init__(self, files: DerivedFiles) -> None:
        self._files = files
        self._held: LruCache[_Key, bytes] = LruCache(
            max_items=MAX_HELD, max_bytes=1 << 30, size_of=len
        )
        self._flights: SingleFlight[_Key, bytes] = SingleFlight()
        self._writing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait shortly for writes, then cancel them; a face without a file is solved again."""
        if self._writing:
            await asyncio.wait(self._writing, timeout=CLOSE_S)
        for task in list(self._writing):
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)

    def forget(self, user_id: str, face_id: str, *, but_version: str | None = None) -> None:
        """Evict the solutions of a face, except those of `but_version`."""
        self._held.discard_where(
            lambda key: key[:2] == (user_id, face_id) and key.version != but_version
        )

    async def get(self, face: FaceModel, adapter: SolvingAdapter, size: int) -> bytes | None:
        """Return the solution, or None where the points cannot be solved.

        A new one is stored in the background.
        """
        key = _Key(face.user_id, face.id, face.version, adapter.solution.name, size)
        held = self._held.get(key)
        if held is not None:
            return held
        try:
            return await self._flights.run(key, lambda: self._get(key, face, adapter))
        except UNUSABLE_POINTS:
            return None

    async def _get(self, key: _Key, face: FaceModel, adapter: SolvingAdapter) -> bytes:
        kind = adapter.solution
        made_by = f"{kind.name} {kind.version}"
        digest = await asyncio.to_thread(fingerprint, face, made_by)
        name = f"{kind.name}.{digest}.{key.size}.bin"
        found = await self._load(face, name, kind, key.size)
        if found is None:
            found = await asyncio.to_thread(adapter.solve, face, key.size)
            self._store(face, name, kind, found)
        self._held.put(key, found)
        return found

    async def _load(
        self, face: FaceModel, name: str, kind: FaceSolution, size: int
    ) -> bytes | None:
        if _is_builtin(face):
            return None
        limit = kind.max_bytes + CHECKSUM_BYTES
        return await self._files.load(
            face,
            name,
            lambda data: _solution_in(data, kind, size),
            max_bytes=limit,
            timeout_s=READ_TIMEOUT_S,
        )

    def _store(self, face: FaceModel, name: str, kind: FaceSolution, solution: bytes) -> None:
        if _is_builtin(face):
            return
        limit = kind.max_bytes + CHECKSUM_BYTES
        writing = self._files.keep(
            face, name, lambda: _file_of(solution), max_bytes=limit, timeout_s=WRITE_TIMEOUT_S
        )
        task = asyncio.create_task(writing, name=f"store {name}")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)


def _is_builtin(face: FaceModel) -> bool:
    """True for the built-in portrait, whose solution is not stored.

    It is solved at each start, while the inference server starts.
    """
    return (face.user_id, face.id) == (DEMO_USER, DEMO_FACE)


def _file_of(solution: bytes) -> bytes:
    return hashlib.sha256(solution).digest() + solution


def _solution_in(data: bytes, kind: FaceSolution, size: int) -> bytes:
    """Solution in a file; ValueError for a damaged file or one of another kind."""
    solution = data[CHECKSUM_BYTES:]
    if hashlib.sha256(solution).digest() != data[:CHECKSUM_BYTES]:
        raise ValueError("checksum mismatch")
    kind.check(solution, size)
    return solution
