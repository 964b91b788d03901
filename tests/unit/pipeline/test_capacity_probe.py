"""How many faces a machine carries: the arithmetic, and whom admission control then refuses."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from virtual_time import run_virtual

from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.metrics import Metrics
from orchestrator.pipeline.capacity_probe import (
    PAUSES,
    RETRY_S,
    SENDING_MS,
    Capacity,
    capacity_of,
    cost_of_round,
    cpu_s,
    is_measured,
    until_measured,
)
from orchestrator.pipeline.session_state import SPEAKING_S, Session
from orchestrator.sessions.admission import RETRY_AFTER_S
from orchestrator.sessions.directory import SessionDirectory


@pytest.mark.parametrize(
    ("drawing_ms", "cores", "fps", "faces"),
    [
        (2.4, 2.0, 20.0, 41),
        (2.4, 4.0, 20.0, 83),
        (2.4, 2.0, 25.0, 33),
        (9.4, 2.0, 20.0, 12),
        (2.4, 0.5, 20.0, 10),
        (8000.0, 2.0, 20.0, 1),
        (0.0, 1.0, 20.0, 104),
    ],
    ids=[
        "two cores",
        "four",
        "faster frames",
        "a dear model",
        "half a core",
        "a model far too slow",
        "a server elsewhere",
    ],
)
def test_faces_follow_from_cost_cores_and_rate(
    drawing_ms: float, cores: float, fps: float, faces: int
) -> None:
    capacity = capacity_of(drawing_ms, cores, fps)
    assert capacity.faces == faces
    assert (
        capacity.faces == 1
        or capacity.faces * capacity.cpu_ms_per_frame * fps * (1.0 - PAUSES) <= cores * 1000.0
    )


def test_a_frame_costs_its_sending_too() -> None:
    assert capacity_of(2.4, 2.0, 20.0).cpu_ms_per_frame == pytest.approx(2.4 + SENDING_MS)


def test_what_goes_on_beside_a_round_is_not_counted_against_it() -> None:
    assert cost_of_round(0.2, 0.1, 0.0, 40) == pytest.approx(5.0)
    assert cost_of_round(0.2, 0.1, 1.0, 40) == pytest.approx(2.5)
    assert cost_of_round(0.2, 0.1, 3.0, 40) == 0.0


def test_what_a_triton_elsewhere_carries_is_not_measured_here() -> None:
    assert is_measured(ServiceConfig())
    assert not is_measured(ServiceConfig(triton_url="gpu1:8001"))
    assert not is_measured(ServiceConfig(capacity_probe=False))


def test_this_machine_has_a_clock_of_its_cores_work() -> None:
    before = cpu_s()
    sum(range(200_000))
    assert cpu_s() >= before > 0.0


STILL_HEARD_S = math.inf
"""Whenever it is asked."""


def _session(name: str, heard_s: float = -math.inf) -> Session:
    session = Session(name, "ann", inbox_ms=1000.0, outbox_frames=4)
    session.audio.heard_s = heard_s
    return session


def _registry(limit: int) -> SessionDirectory:
    config = ServiceConfig(max_concurrent_sessions=limit, max_sessions_per_user=limit)
    environment: Any = SimpleNamespace(config=config, metrics=Metrics())
    return SessionDirectory(environment)


async def test_while_the_machine_is_full_of_speakers_a_further_session_is_told_when_to_come_back() -> (
    None
):
    registry = _registry(100)
    registry.limit_speakers(2)
    registry.add(_session("a", STILL_HEARD_S))
    registry.add(_session("b", STILL_HEARD_S))
    with pytest.raises(LipSyncError) as refused:
        registry.add(_session("c", STILL_HEARD_S))
    assert refused.value.code is LipSyncErrorCode.SESSION_LIMIT
    assert refused.value.details == {"limit": 2, "retryAfterS": RETRY_AFTER_S}
    assert refused.value.recoverable


async def test_sessions_that_only_listen_take_nobodys_place() -> None:
    now = asyncio.get_running_loop().time()
    registry = _registry(100)
    registry.limit_speakers(2)
    for number in range(50):
        registry.add(_session(f"idle-{number}", now - 2.0 * SPEAKING_S))
    registry.add(_session("speaker", STILL_HEARD_S))
    assert (len(registry), registry.speaking()) == (51, 1)


async def test_without_a_measured_capacity_the_configured_limit_alone_counts() -> None:
    registry = _registry(3)
    for name in "abc":
        registry.add(_session(name, asyncio.get_running_loop().time()))
    with pytest.raises(LipSyncError) as refused:
        registry.add(_session("d"))
    assert refused.value.details == {"limit": 3, "retryAfterS": RETRY_AFTER_S}


@dataclass
class FailsFirst:
    """A model that is away for a while, and then fails its first measurements."""

    away_until_s: float
    failures: int
    asked_s: list[float] = field(default_factory=list)

    async def ready(self) -> bool:
        return asyncio.get_running_loop().time() >= self.away_until_s

    async def measured(self) -> Capacity:
        self.asked_s.append(asyncio.get_running_loop().time())
        if len(self.asked_s) <= self.failures:
            raise LipSyncError(
                LipSyncErrorCode.VIDEO_GENERATION_FAILED, "tpsm drew nothing to measure"
            )
        return capacity_of(2.4, 2.0, 20.0)


def test_a_probe_that_fails_is_made_again_until_the_capacity_is_known(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = FailsFirst(away_until_s=1010.0, failures=8)
    assert run_virtual(until_measured(model.ready, model.measured)).faces == 41
    waits = [after - before for before, after in pairwise(model.asked_s)]
    assert model.asked_s[0] == pytest.approx(1010.0, abs=RETRY_S)
    assert waits == pytest.approx([3.0, 6.0, 12.0, 24.0, 48.0, 60.0, 60.0, 60.0])
    assert "tpsm drew nothing to measure; measured again in 3 s" in caplog.text
