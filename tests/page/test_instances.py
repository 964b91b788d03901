"""Browser client with several instances: one shuts down, or a connection leads to another one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from browser_client import run_client
from instances import instances
from playwright.sync_api import Page
from relay import Relay, relay

RECORDED = """
const starts = [], ends = [], lost = [], times = {};
client.addEventListener("start", ({ detail }) => starts.push(detail.instance));
client.addEventListener("end", ({ detail }) => ends.push(detail.turnId));
client.addEventListener("lost", ({ detail }) => lost.push([detail.turnId, detail.reason]));
client.addEventListener("frame", ({ detail: { turnId, mediaMs } }) =>
  (times[turnId] ??= []).push(mediaMs));
const ended = (turnId) => next("end", (detail) => detail.turnId === turnId);
"""

SECOND = [50 * frame for frame in range(20)]
"""Times at which the frames of a turn of one second are to be shown."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[tuple[str, psutil.Process]]]:
    """Two instances."""
    with instances(tmp_path, 2, drain_s="120") as started:
        yield started


@pytest.fixture
def gateway(pair: list[tuple[str, psutil.Process]]) -> Iterator[Relay]:
    """Leads to the first of them that is ready."""
    with relay(*(url for url, _ in pair)) as wire:
        yield wire


def run(page: Page, gateway: Relay, script: str, terminate: psutil.Process) -> Any:
    """Result of `script`; `await shutDown()` in it ends an instance."""
    page.expose_function("shutDown", terminate.terminate)
    return run_client(page, gateway.url, RECORDED, script)


def test_a_spoken_turn_ends_and_those_behind_it_are_spoken_elsewhere(
    page: Page, gateway: Relay, pair: list[tuple[str, psutil.Process]]
) -> None:
    heard = run(
        page,
        gateway,
        """
        speak(10);
        await next("frame");
        speak(10);
        await shutDown();
        await ended("turn-002");
        speak(10);
        await ended("turn-003");
        return { starts, ends, problems, lost, times };
        """,
        pair[0][1],
    )
    assert (heard["ends"], heard["problems"], heard["lost"]) == (
        ["turn-001", "turn-002", "turn-003"],
        [],
        [],
    )
    assert heard["times"] == {turn: SECOND for turn in ("turn-001", "turn-002", "turn-003")}
    first, second, third = heard["starts"]
    assert first != second == third
    assert pair[0][1].wait(60) == 0


def test_a_turn_that_begins_while_the_connection_moves_is_spoken(
    page: Page, gateway: Relay, pair: list[tuple[str, psutil.Process]]
) -> None:
    heard = run(
        page,
        gateway,
        """
        speak(10);
        await ended("turn-001");
        const away = next("connection", ({ state }) => state === "waiting");
        await shutDown();
        await away;
        speak(10);
        await ended("turn-002");
        return { problems, lost, times, instances: new Set(starts).size };
        """,
        pair[0][1],
    )
    assert heard == {
        "problems": [],
        "lost": [],
        "times": {"turn-001": SECOND, "turn-002": SECOND},
        "instances": 2,
    }


def test_a_turn_whose_instance_is_gone_is_lost_with_the_reason_and_the_next_one_is_spoken(
    page: Page, gateway: Relay, pair: list[tuple[str, psutil.Process]]
) -> None:
    page.expose_function("killInstance", pair[0][1].kill)
    heard = run(
        page,
        gateway,
        """
        speak(200);
        await next("frame");
        await killInstance();
        await next("lost");
        speak(10);
        await ended("turn-002");
        return { problems, lost, ends, spoken: times["turn-002"] };
        """,
        pair[0][1],
    )
    assert heard == {
        "problems": [],
        "lost": [["turn-001", "OTHER_INSTANCE"]],
        "ends": ["turn-002"],
        "spoken": SECOND,
    }
