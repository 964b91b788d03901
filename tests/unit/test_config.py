"""Layers of configuration, and refusals that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config import ConfigError, ServiceConfig
from orchestrator.config_layers import load_config, printed
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
        ({"auth_jwt_algorithm": "none"}, {}, "use HS256 or RS256"),
        ({}, {"LIPSYNC_AUTH_TOKENS": "secret-without-user"}, "auth_tokens cannot be what was given"),
        ({"inbox_ms": 0}, {}, "inbox_ms must be more than 0"),
        ({"batch_window_ms": 500}, {}, "batch_window_ms must be from 0 to 100"),
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


def test_tables_of_the_file_are_prefixes_of_keys(tmp_path: Path) -> None:
    file = tmp_path / "lipsync.toml"
    file.write_text('[auth]\njwt_key = "k"\n[auth.tokens]\nalpha = "ann"\nbeta = "bob"\n')
    config = load_config({}, {}, file)
    assert (config.auth_jwt_key, config.auth_tokens) == ("k", {"alpha": "ann", "beta": "bob"})
    assert load_config({}, {"LIPSYNC_AUTH_TOKENS": "alpha=ann, beta=bob"}, None).auth_tokens == config.auth_tokens


def test_with_tokens_the_service_may_listen_everywhere() -> None:
    assert ServiceConfig(host="0.0.0.0", auth_tokens={"alpha": "ann"}).host == "0.0.0.0"


def test_what_is_printed_gives_the_configuration_again_without_its_secrets(tmp_path: Path) -> None:
    config = ServiceConfig(port=9, allowed_origins=("https://a.example",), auth_tokens={"alpha": "ann"}, auth_jwt_key="k3y")
    text = printed(config)
    assert "alpha" not in text + repr(config)
    assert "k3y" not in text + repr(config)
    file = tmp_path / "printed.toml"
    file.write_text(text)
    again = load_config({"auth_tokens": "alpha=ann", "auth_jwt_key": "k3y"}, {}, file)
    assert again == config
