"""Solutions of faces (`SolvesFace`): solved once per face and size, stored beside the face, shared
by adapters of one kind.
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
"""Solving takes less than 0.1 s: a storage that needs longer than this to answer is done without. 
"""

WRITE_TIMEOUT_S: Final = 30.0

CLOSE_S: Final = 1.0
"""Time that files under way have at the service's end."""

HELD: Final = 4
"""Solutions in memory: adapters of one kind ask for the same one shortly after each other, and hold
it themselves then.
"""

CHECKSUM_BYTES: Final = 32
"""SHA-256 ahead of the solution in its file: its structure alone does not show a flipped bit."""


class SolvingAdapter(SolvesFace, ModelAdapter, Protocol):
    """A model that solves faces."""


class _Key(NamedTuple):
    user_id: str
    face_id: str
    version: str
    name: str
    size: int


class FaceSolutions:
    """Solutions from memory, from the folder beside the face, or solved now. One event loop owns
    it.
    """

    def __init__(self, files: DerivedFiles) -> None:
        self._files = files
        self._held: LruCache[_Key, bytes] = LruCache(max_items=HELD, max_bytes=1 << 30, size_of=len)
        self._flights: SingleFlight[_Key, bytes] = SingleFlight()
        self._writing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End writing, after a moment's patience; a face whose file was not written is solved
        again.
        """
        if self._writing:
            await asyncio.wait(self._writing, timeout=CLOSE_S)
        for task in list(self._writing):
            task.cancel()
        await asyncio.gather(*self._writing, return_exceptions=True)

    def forget(self, user_id: str, face_id: str, *, but_version: str | None = None) -> None:
        """Let go of a face, or of its other versions."""
        self._held.discard_where(
            lambda key: key[:2] == (user_id, face_id) and key.version != but_version
        )

    async def get(self, face: FaceModel, adapter: SolvingAdapter, size: int) -> bytes | None:
        """The face's solution; None where its points cannot be solved. A new one is stored in the
        background.
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
        if _is_shipped(face):
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
        if _is_shipped(face):
            return
        limit = kind.max_bytes + CHECKSUM_BYTES
        writing = self._files.keep(
            face, name, lambda: _file_of(solution), max_bytes=limit, timeout_s=WRITE_TIMEOUT_S
        )
        task = asyncio.create_task(writing, name=f"store {name}")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)


def _is_shipped(face: FaceModel) -> bool:
    """Whether it is the shipped portrait: solved at each start, while the server starts, so that
    nothing need be stored for it.
    """
    return (face.user_id, face.id) == (DEMO_USER, DEMO_FACE)


def _file_of(solution: bytes) -> bytes:
    return hashlib.sha256(solution).digest() + solution


def _solution_in(data: bytes, kind: FaceSolution, size: int) -> bytes:
    """Raises ValueError for a damaged file, and for one that is none of these."""
    solution = data[CHECKSUM_BYTES:]
    if hashlib.sha256(solution).digest() != data[:CHECKSUM_BYTES]:
        raise ValueError("the checksum is wrong")
    kind.check(solution, size)
    return solution
