"""Shared memory is lent, given back, and kept apart while a server may still write into it."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import numpy as np
import pytest

from orchestrator.inference.embedded.run_lock import SHM
from orchestrator.inference.triton.shared_memory_ring import QUARANTINE_S, SlotRing


@pytest.fixture
def ring() -> Iterator[SlotRing]:
    ring = SlotRing(f"lipsync-test-{uuid4().hex[:8]}", slots=2, slot_bytes=4096)
    yield ring
    ring.close()


def test_slots_are_pieces_of_one_segment_that_others_can_open(ring: SlotRing) -> None:
    first, second = ring.take(), ring.take()
    assert first is not None and second is not None
    assert (first.offset, second.offset) == (0, 4096)
    second.view[:3] = b"abc"
    assert (SHM / ring.key).read_bytes()[4096:4099] == b"abc"


def test_an_empty_ring_lends_nothing(ring: SlotRing) -> None:
    slots = [ring.take(), ring.take()]
    assert ring.take() is None
    ring.give_back(slots[1])
    assert ring.take() is slots[1]


def test_an_abandoned_slot_returns_after_the_wait_and_an_answer_to_a_later_request(
    ring: SlotRing,
) -> None:
    slot = ring.take()
    ring.abandon(slot, "tpsm", now=100.0)
    ring.answered("tpsm", sent_at=99.0, now=100.0 + QUARANTINE_S)  # was sent before: proves nothing
    ring.answered("tpsm", sent_at=101.0, now=100.0 + QUARANTINE_S - 0.1)  # too early
    ring.answered("audio2motion", sent_at=101.0, now=100.0 + QUARANTINE_S)  # another queue
    assert ring.free == 1
    ring.answered("tpsm", sent_at=101.0, now=100.0 + QUARANTINE_S)
    assert ring.free == 2


def test_a_segment_that_does_not_fit_is_refused_and_leaves_no_name() -> None:
    key = f"lipsync-test-{uuid4().hex[:8]}"
    with pytest.raises(OSError):
        SlotRing(key, slots=1, slot_bytes=1 << 50)
    assert not (SHM / key).exists()


def test_the_name_is_gone_after_closing_while_the_memory_stays_valid(ring: SlotRing) -> None:
    slot = ring.take()
    ring.close()
    assert not (SHM / ring.key).exists()
    assert np.frombuffer(slot.view, np.uint8).sum() == 0
