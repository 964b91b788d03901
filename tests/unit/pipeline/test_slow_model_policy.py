"""When a model has to give way in a session, and when it is asked again."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from orchestrator.core.types import LipSyncModel
from orchestrator.pipeline.slow_model_policy import BENCH_S, Backlog, SlowModels, update

WAV2LIP, TPSM = LipSyncModel.WAV2LIP, LipSyncModel.TPSM
LATE = Backlog(late_s=15.0, fill=0.5, inbox_s=30.0, more_comes=True, load=1.5)
AWAY = SlowModels(frozenset({WAV2LIP}), since_s=100.0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"late_s": 2.5, "fill": 0.95},
        {"late_s": 1.0, "inbox_s": 2.0},
        {"load": 40.0},
    ],
    ids=["late by half an inbox", "the inbox nearly full", "a small inbox", "far too slow"],
)
def test_a_model_gives_way_where_sound_would_be_lost(changes: dict[str, Any]) -> None:
    assert update(SlowModels(), dataclasses.replace(LATE, **changes), WAV2LIP, 7.0) == SlowModels(
        frozenset({WAV2LIP}), 7.0
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"load": 0.9},
        {"more_comes": False},
        {"fill": 0.4},
        {"late_s": 14.0},
        {"late_s": 1.0, "fill": 0.95},
    ],
    ids=[
        "it keeps up",
        "nothing more comes",
        "little waits",
        "not so late yet",
        "the client is ahead",
    ],
)
def test_it_does_not_where_none_would(changes: dict[str, Any]) -> None:
    assert update(SlowModels(), dataclasses.replace(LATE, **changes), WAV2LIP, 7.0) == SlowModels()


def test_one_that_took_over_and_is_too_slow_as_well_follows_it() -> None:
    assert update(AWAY, LATE, TPSM, 103.0) == SlowModels(frozenset({WAV2LIP, TPSM}), 103.0)


@pytest.mark.parametrize(
    ("late_s", "inbox_s", "back"),
    [(1.9, 30.0, True), (2.1, 30.0, False), (0.2, 2.0, True), (0.3, 2.0, False)],
)
def test_it_is_asked_again_when_the_frames_have_caught_up(
    late_s: float, inbox_s: float, back: bool
) -> None:
    waiting = dataclasses.replace(LATE, late_s=late_s, inbox_s=inbox_s, load=0.2)
    assert update(AWAY, waiting, TPSM, 100.0 + BENCH_S) == (SlowModels() if back else AWAY)


def test_it_stays_away_for_a_while_however_soon_they_have() -> None:
    waiting = dataclasses.replace(LATE, late_s=0.0, load=0.2)
    assert update(AWAY, waiting, TPSM, 100.0 + BENCH_S - 0.1) == AWAY
