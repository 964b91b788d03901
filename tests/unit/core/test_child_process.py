"""A module runs in a process of its own, and ends with its caller."""

from __future__ import annotations

import pytest

from orchestrator.core.child_environment import SINGLE_THREADED, child_environment
from orchestrator.core.child_process import run_module


async def test_a_module_of_ours_runs_and_its_output_comes_back() -> None:
    finished = await run_module("orchestrator", "--help")
    assert (finished.status, finished.complaint) == (0, "")
    assert finished.output.startswith(b"usage: lipsync")


async def test_a_module_that_fails_comes_back_with_its_complaint() -> None:
    finished = await run_module("orchestrator", "no-such-command")
    assert finished.status == 2
    assert "no-such-command" in finished.complaint


async def test_a_module_that_takes_too_long_is_killed() -> None:
    with pytest.raises(TimeoutError):
        await run_module("http.server", "0", timeout_s=0.01)


def test_children_use_single_threads_whatever_this_process_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert SINGLE_THREADED.items() <= child_environment().items()
