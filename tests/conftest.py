"""Fixtures of all tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from orchestrator.core.child_environment import use_single_threads

use_single_threads()  # before numpy is imported

import pytest  # noqa: E402
from seeded_models import seeded_repository  # noqa: E402

__all__ = ["seeded_repository"]


@pytest.fixture
def patient_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the storage says counts, however long the machine takes to say it; for tests of what it
    says.
    """
    monkeypatch.setattr("orchestrator.faces.service.PATIENCE_S", 60.0)
    monkeypatch.setattr("orchestrator.faces.storage.circuit_breaker.AWAY_AFTER_S", 60.0)


@pytest.fixture
def root_as_it_was() -> Iterator[None]:
    """For tests that configure logging themselves."""
    root, ours = logging.getLogger(), logging.getLogger("orchestrator")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    root.handlers.clear()
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
