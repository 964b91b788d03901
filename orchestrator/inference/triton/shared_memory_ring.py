"""Ring of shared memory slots: one segment that requests to a server on this host borrow from.

The server writes a request's outputs when it processes it, also after the client gave up. A slot
whose request was not answered is therefore quarantined until the server can no longer write into
it.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from orchestrator.inference.embedded.run_lock import SHM

SLOTS: Final = 12
"""Concurrent requests that use shared memory; further ones send bytes."""

SLOT_BYTES: Final = 4 << 20
"""Five RGB frames of 512x512, twenty of 256x256."""

LARGE_SLOTS: Final = 8
LARGE_SLOT_BYTES: Final = 20 << 20
"""The largest request, a chunk of `tpsm_neural_frames`.

15.7 MB of a photo's features, and the frames of the answer.
"""

QUARANTINE_S: Final = 10.0
"""Quarantine of an abandoned slot.

Its request has certainly ended when this has passed *and* a later one for its model was answered.
"""


@dataclass(frozen=True, slots=True)
class Slot:
    """A borrowed piece of the segment."""

    offset: int
    view: memoryview


@dataclass(frozen=True, slots=True)
class _Abandoned:
    slot: Slot
    model: str
    at: float


class SlotRing:
    """Slots of one segment in `/dev/shm`, for one connection and one event loop."""

    def __init__(self, key: str, slots: int = SLOTS, slot_bytes: int = SLOT_BYTES) -> None:
        self.key = key
        self.slot_bytes = slot_bytes
        self.nbytes = slots * slot_bytes
        self._memory = _reserve(key, self.nbytes)
        view = memoryview(self._memory)
        self._free = [
            Slot(i * slot_bytes, view[i * slot_bytes : (i + 1) * slot_bytes])
            for i in reversed(range(slots))
        ]
        self._abandoned: list[_Abandoned] = []

    @property
    def free(self) -> int:
        """Number of free slots."""
        return len(self._free)

    def take(self) -> Slot | None:
        """Take the slot returned last (its pages are warm); None when all are in use."""
        return self._free.pop() if self._free else None

    def give_back(self, slot: Slot) -> None:
        """Return a slot whose request was answered: the server is done with it."""
        self._free.append(slot)

    def abandon(self, slot: Slot, model: str, now: float) -> None:
        """Quarantine the slot of a cancelled or timed out request: the server may still write."""
        self._abandoned.append(_Abandoned(slot, model, now))

    def answered(self, model: str, sent_at: float, now: float) -> None:
        """Free quarantined slots of `model` after an answered request.

        Requests are processed in order, so those abandoned long before it have ended.
        """
        if not self._abandoned:
            return
        ended = [
            each
            for each in self._abandoned
            if each.model == model and each.at < sent_at and now - each.at >= QUARANTINE_S
        ]
        self._abandoned = [each for each in self._abandoned if each not in ended]
        self._free += [each.slot for each in ended]

    def close(self) -> None:
        """Remove the segment's name; the memory is freed when the last process unmaps it."""
        (SHM / self.key).unlink(missing_ok=True)


@contextmanager
def _opened(key: str) -> Iterator[int]:
    descriptor = os.open(SHM / key, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _reserve(key: str, nbytes: int) -> mmap.mmap:
    """Allocate the segment; raises OSError where `/dev/shm` is too small.

    Without allocation the server would die of SIGBUS when it fills up.
    """
    with _opened(key) as descriptor:
        try:
            os.posix_fallocate(descriptor, 0, nbytes)
            return mmap.mmap(descriptor, nbytes)
        except OSError:
            (SHM / key).unlink(missing_ok=True)
            raise
