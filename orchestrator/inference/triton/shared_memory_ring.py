"""Shared memory for tensors when the server is on the same host: one segment, cut into slots that
requests borrow.

The server writes a request's outputs whenever it gets to it, also after the client has given up. A
slot whose request was not answered is therefore kept out of use until the server can no longer
write into it.
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
"""Requests at once that use shared memory; further ones send bytes."""

SLOT_BYTES: Final = 4 << 20
"""Five RGB frames of 512x512, twenty of 256x256."""

LARGE_SLOTS: Final = 8
LARGE_SLOT_BYTES: Final = 20 << 20
"""A chunk's request of `tpsm_neural_frames`, the largest there is: 15.7 MB of a photo's features,
and the frames of the answer.
"""

QUARANTINE_S: Final = 10.0
"""An abandoned request has certainly ended when this has passed *and* a later one for its model was
answered.
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
    """Slots of one segment in `/dev/shm`. Owned by one connection, used from one event loop."""

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
        """Slots that could be taken now."""
        return len(self._free)

    def take(self) -> Slot | None:
        """The slot returned last (its pages are warm), or None when all are in use."""
        return self._free.pop() if self._free else None

    def give_back(self, slot: Slot) -> None:
        """The server has answered: it is done with the slot."""
        self._free.append(slot)

    def abandon(self, slot: Slot, model: str, now: float) -> None:
        """The request was cancelled or timed out: the server may still write."""
        self._abandoned.append(_Abandoned(slot, model, now))

    def answered(self, model: str, sent_at: float, now: float) -> None:
        """A request for `model` was answered: requests wait in line, so those abandoned long before
        it have ended.
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
        """Removes the segment's name; the memory goes when the last process that mapped it does."""
        (SHM / self.key).unlink(missing_ok=True)


@contextmanager
def _opened(key: str) -> Iterator[int]:
    descriptor = os.open(SHM / key, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _reserve(key: str, nbytes: int) -> mmap.mmap:
    """Raises OSError where `/dev/shm` is too small; without reserving, the server would die of
    SIGBUS when it fills up.
    """
    with _opened(key) as descriptor:
        try:
            os.posix_fallocate(descriptor, 0, nbytes)
            return mmap.mmap(descriptor, nbytes)
        except OSError:
            (SHM / key).unlink(missing_ok=True)
            raise
