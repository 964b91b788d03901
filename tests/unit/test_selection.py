"""Candidates, best first."""

from __future__ import annotations

import pytest

from orchestrator.selection import candidates
from orchestrator.types import LipSyncModel

TPSM, WAV2LIP, SADTALKER, STATIC = LipSyncModel.TPSM, LipSyncModel.WAV2LIP, LipSyncModel.SADTALKER, LipSyncModel.STATIC
CHAIN = (TPSM, WAV2LIP, SADTALKER, STATIC)


@pytest.mark.parametrize(
    ("preference", "usable", "expected"),
    [
        (None, {TPSM, STATIC}, [TPSM, STATIC]),
        (None, {TPSM, WAV2LIP, SADTALKER, STATIC}, [TPSM, WAV2LIP, SADTALKER, STATIC]),
        (WAV2LIP, {TPSM, WAV2LIP, STATIC}, [WAV2LIP, TPSM, STATIC]),
        (WAV2LIP, {TPSM, STATIC}, [TPSM, STATIC]),
        (STATIC, {TPSM, STATIC}, [STATIC]),
        (None, {STATIC}, [STATIC]),
        (None, set(), [STATIC]),
        (LipSyncModel.AUDIO2HEAD, {LipSyncModel.AUDIO2HEAD, TPSM}, [LipSyncModel.AUDIO2HEAD, TPSM, STATIC]),
    ],
)
def test_candidates_are_the_preference_the_default_and_the_chain(
    preference: LipSyncModel | None, usable: set[LipSyncModel], expected: list[LipSyncModel]
) -> None:
    assert candidates(preference=preference, default=TPSM, chain=CHAIN, usable=usable) == expected
