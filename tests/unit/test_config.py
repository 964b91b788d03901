"""Layers of configuration, and refusals that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config import ConfigError, ServiceConfig, load_config
from orchestrator.types import LipSyncModel


def test_the_defaults_are_the_specifications() -> None:
    config = ServiceConfig()
    assert config.default_model is LipSyncModel.TPSM
    assert [model.value for model in config.fallback_chain] == ["tpsm", "wav2lip", "sadtalker", "static"]
    assert (config.max_concurrent_sessions, config.face_model_cache_size) == (100, 50)


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / "lipsync.toml"
    file.write_text('port = 1\ninbox_ms = 2\noutbox_frames = 3\nfallback_chain = ["wav2lip", "static"]\n')
    config = load_config({"port": 30}, {"LIPSYNC_PORT": "20", "LIPSYNC_INBOX_MS": "20", "HOME": "/"}, file)
    assert (config.port, config.inbox_ms, config.outbox_frames) == (30, 20, 3)
    assert config.fallback_chain == (LipSyncModel.WAV2LIP, LipSyncModel.STATIC)


def test_a_flag_that_was_not_given_changes_nothing() -> None:
    assert load_config({"port": None}, {}, None).port == ServiceConfig().port


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        ({}, {"LIPSYNC_PROT": "1"}, "did you mean 'port'"),
        ({}, {"LIPSYNC_PORT": "eighty"}, "port cannot be 'eighty'"),
        ({}, {"LIPSYNC_INSECURE": "maybe"}, "insecure cannot be 'maybe'"),
        ({}, {"LIPSYNC_FALLBACK_CHAIN": "tpsm,tmps"}, "fallback_chain cannot be"),
        ({"host": "0.0.0.0"}, {}, "--insecure"),
        ({"inbox_ms": 0}, {}, "inbox_ms must be more than 0"),
        ({"models": "wav2lip"}, {}, "default_model 'tpsm' is not among models"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_way_out(flags: dict[str, object], environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(flags, environment, None)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("port =")
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        load_config({}, {}, file)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_needs_no_flag(host: str) -> None:
    assert ServiceConfig(host=host).host == host


def test_insecure_opens_other_addresses() -> None:
    assert ServiceConfig(host="0.0.0.0", insecure=True).host == "0.0.0.0"


def test_the_last_resort_is_served_whatever_models_says() -> None:
    config = load_config({"models": "wav2lip,tpsm"}, {}, None)
    assert [model.value for model in LipSyncModel if config.serves(model)] == ["tpsm", "wav2lip", "static"]
    assert all(ServiceConfig().serves(model) for model in LipSyncModel)
