"""Every model says whether it can be used, and what brings it where it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.core.config import ServiceConfig
from orchestrator.core.types import LipSyncModel
from orchestrator.inference.model_contract import Repository, read_repository
from orchestrator.models import ADAPTERS
from orchestrator.pipeline.model_availability import LICENCES, commands_for, why_not

SHIPPED = read_repository(ServiceConfig().model_repository)


@pytest.mark.parametrize("model", [LipSyncModel.TPSM, LipSyncModel.STATIC], ids=str)
def test_what_this_repository_ships_can_be_used(model: LipSyncModel) -> None:
    assert why_not(model, SHIPPED) == ""


def test_files_that_are_missing_are_named_with_the_command_that_makes_them(tmp_path: Path) -> None:
    reason = why_not(LipSyncModel.TPSM, Repository(tmp_path / "models", {}))
    assert (
        "missing models/audio2motion/config.pbtxt, models/tpsm/config.pbtxt: python "
        "-m export audio2motion && git checkout" in reason
    )


def test_the_last_resort_needs_no_files(tmp_path: Path) -> None:
    assert why_not(LipSyncModel.STATIC, Repository(tmp_path, {})) == ""


def test_the_parts_of_a_public_network_come_from_one_checkpoint() -> None:
    commands = commands_for(LipSyncModel.AUDIO2HEAD, ("audio2head_pose", "audio2head_motion"))
    assert commands == ("python -m export audio2head --checkpoint PATH",)


def test_every_model_has_its_licences() -> None:
    assert set(LICENCES) == set(ADAPTERS)
    assert all(licences.code and licences.weights for licences in LICENCES.values())
