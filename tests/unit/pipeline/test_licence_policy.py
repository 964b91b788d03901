"""The operator's rule on licences: what it refuses, what it names instead, and what a session is
told.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
from fakes import ScriptedAdapter, ScriptedInference, pcm_chunk, scripted_service
from virtual_time import run_virtual

from orchestrator.cli.configuration import settings
from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.core.types import LipSyncModel, VideoGenerationConfig
from orchestrator.models import ADAPTERS
from orchestrator.models.base import Licences
from orchestrator.pipeline.licence_policy import best_permitted, check_models, refused_models
from orchestrator.pipeline.session_events import Failed, InboxItem, OutgoingFrame, TurnStarted
from orchestrator.pipeline.session_state import Session
from orchestrator.sessions.worker import SessionWorker

TPSM, WAV2LIP, SADTALKER, STATIC = (
    LipSyncModel.TPSM,
    LipSyncModel.WAV2LIP,
    LipSyncModel.SADTALKER,
    LipSyncModel.STATIC,
)
RESEARCH = Licences("ours", "research only", commercial=False)
SAFE = ServiceConfig(commercial_safe=True)


def adapters(
    research: tuple[LipSyncModel, ...] = (WAV2LIP,),
) -> dict[LipSyncModel, ScriptedAdapter]:
    """Scripted models; `research` are not for commercial use."""
    found = {model: ScriptedAdapter(model) for model in (TPSM, WAV2LIP, STATIC)}
    for model in research:
        found[model].spec = dataclasses.replace(found[model].spec, licences=RESEARCH, quality=0.9)
    return found


def test_what_is_not_for_commercial_use_is_refused_with_its_licences_and_only_when_asked_for() -> (
    None
):
    assert refused_models(adapters(), commercial_safe=False) == {}
    refused = refused_models(adapters(), commercial_safe=True)
    assert list(refused) == [WAV2LIP]
    assert (
        refused[WAV2LIP]
        == "wav2lip is refused by commercial_safe (code: ours; weights: research only)"
    )


def test_of_our_own_models_only_those_of_others_weights_are_refused() -> None:
    assert not {TPSM, STATIC} & refused_models(ADAPTERS, commercial_safe=True).keys()
    assert (
        not (ADAPTERS.keys() - {TPSM, STATIC})
        - refused_models(ADAPTERS, commercial_safe=True).keys()
    )


def test_the_best_that_is_permitted_is_named_instead() -> None:
    assert best_permitted(adapters()) is TPSM
    assert best_permitted(adapters(), [WAV2LIP, STATIC]) is STATIC


def test_a_default_model_that_is_refused_is_an_error_that_names_another() -> None:
    config = dataclasses.replace(SAFE, default_model=WAV2LIP)
    with pytest.raises(
        ConfigError, match=r"default_model: wav2lip is refused .*weights: research only.*; use tpsm"
    ):
        check_models(config, adapters(), chain_is_named=False)
    check_models(
        dataclasses.replace(config, commercial_safe=False), adapters(), chain_is_named=False
    )


def test_a_chain_that_somebody_named_is_refused_and_the_default_one_leaves_models_out() -> None:
    check_models(SAFE, adapters(), chain_is_named=False)
    with pytest.raises(
        ConfigError, match=r"fallback_chain: wav2lip is refused.*; use tpsm,sadtalker,static"
    ):
        check_models(SAFE, adapters(), chain_is_named=True)
    with pytest.raises(ConfigError, match=r"^models: wav2lip is refused.*; use tpsm$"):
        check_models(
            dataclasses.replace(SAFE, models=(TPSM, WAV2LIP)), adapters(), chain_is_named=False
        )


@pytest.mark.parametrize(
    ("flags", "environment", "file"),
    [
        ({"commercial_safe": True}, {}, ""),
        ({}, {"LIPSYNC_COMMERCIAL_SAFE": "1"}, ""),
        ({}, {}, "commercial_safe = true"),
    ],
    ids=["flag", "environment", "file"],
)
def test_the_rule_comes_from_flag_environment_and_file(
    flags: Mapping[str, object],
    environment: dict[str, str],
    file: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    path = tmp_path / "lipsync.toml"
    path.write_text(file)
    assert settings(argparse.Namespace(config=path, **flags)).commercial_safe


def sent_after(preference: LipSyncModel, *, config: ServiceConfig = SAFE) -> list[object]:
    """What a session of half a second is sent whose client prefers a model, twice before the turn
    and once within it.
    """

    async def talk() -> list[object]:
        service = scripted_service(adapters(), ScriptedInference({"tpsm", "wav2lip"}), config)
        session = Session("session-1", "user-1", inbox_ms=30_000, outbox_frames=60)
        live = SessionWorker(session, service, pacing_lead_s=10.0)
        await live.prefer(preference)
        await live.prefer(preference)
        for number in range(5):
            chunk = pcm_chunk(sequence_number=number, timestamp_ms=100.0 * number)
            await live.accept(
                InboxItem(1, "turn-001", VideoGenerationConfig(), "face-1", chunk, 1000.0, 100.0)
            )
        await session.audio.inbox.close()
        await live.work()
        await live.prefer(preference)
        return list(session.delivery.outbox.items())

    return run_virtual(talk())


def test_a_session_that_prefers_a_refused_model_is_told_once_and_served_by_another() -> None:
    sent = sent_after(WAV2LIP)
    failed = [item.error for item in sent if isinstance(item, Failed)]
    assert [(error.code, error.recoverable, error.fallback_available) for error in failed] == [
        (LipSyncErrorCode.MODEL_LOAD_FAILED, True, True)
    ]
    assert failed[0].details["alternative"] == "tpsm"
    assert "research only" in failed[0].message
    assert isinstance(sent[0], Failed)
    assert [item.model for item in sent if isinstance(item, TurnStarted)] == [TPSM]
    frames = [item.frame.lip_sync_model for item in sent if isinstance(item, OutgoingFrame)]
    assert frames
    assert set(frames) == {TPSM}


def test_without_the_rule_the_preference_is_served() -> None:
    sent = sent_after(WAV2LIP, config=ServiceConfig())
    assert not [item for item in sent if isinstance(item, Failed)]
    assert {item.frame.lip_sync_model for item in sent if isinstance(item, OutgoingFrame)} == {
        WAV2LIP
    }
