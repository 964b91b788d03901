"""Layers of configuration, and refusals that help."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.config_loading import named_settings, printed
from orchestrator.core.types import SHIPPED_MODELS, LipSyncModel


def load_config(
    flags: dict[str, Any], environment: dict[str, str], file: Path | None
) -> ServiceConfig:
    return ServiceConfig(**named_settings(flags, environment, file))


def test_the_defaults_are_the_specifications() -> None:
    config = ServiceConfig()
    assert config.default_model is LipSyncModel.TPSM
    assert [model.value for model in config.fallback_chain] == [
        "tpsm",
        "wav2lip",
        "sadtalker",
        "static",
    ]
    assert (config.max_concurrent_sessions, config.face_model_cache_size) == (100, 50)


def test_flags_win_over_environment_over_file(tmp_path: Path) -> None:
    file = tmp_path / "lipsync.toml"
    file.write_text(
        'port = 1\ninbox_ms = 2\noutbox_frames = 3\nfallback_chain = ["wav2lip", "static"]\n'
    )
    config = load_config(
        {"port": 30}, {"LIPSYNC_PORT": "20", "LIPSYNC_INBOX_MS": "20", "HOME": "/"}, file
    )
    assert (config.port, config.inbox_ms, config.outbox_frames) == (30, 20, 3)
    assert config.fallback_chain == (LipSyncModel.WAV2LIP, LipSyncModel.STATIC)


def test_a_flag_that_was_not_given_changes_nothing() -> None:
    assert load_config({"port": None}, {}, None).port == ServiceConfig().port


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        ({}, {"LIPSYNC_PROT": "1"}, "unknown configuration key 'prot'; did you mean 'port'"),
        (
            {},
            {"LIPSYNC_PORT": "eighty"},
            "port cannot be 'eighty'; expected a whole number from 0 to 65535",
        ),
        ({}, {"LIPSYNC_INSECURE": "maybe"}, "insecure cannot be 'maybe'; expected true or false"),
        (
            {},
            {"LIPSYNC_FALLBACK_CHAIN": "tpsm,tmps"},
            "fallback_chain cannot be 'tpsm,tmps'; expected tpsm, wav2lip, ",
        ),
        (
            {},
            {"LIPSYNC_DEFAULT_MODEL": "nope"},
            "default_model cannot be 'nope'; expected tpsm, wav2lip, ",
        ),
        ({"host": "0.0.0.0"}, {}, "--insecure"),
        (
            {"auth_jwt_algorithm": "none"},
            {},
            "auth_jwt_algorithm cannot be 'none'; expected HS256 or RS256",
        ),
        (
            {},
            {"LIPSYNC_AUTH_TOKENS": "secret-without-user"},
            "auth_tokens cannot be the given value",
        ),
        (
            {"triton_url": "nonsense"},
            {},
            "triton_url cannot be 'nonsense'; expected host:port, or several as "
            "gpu1:8001,gpu2:8001",
        ),
        ({}, {"LIPSYNC_TRITON_URL": " "}, "triton_url cannot be ' '; expected host:port"),
        ({"triton_url": "http://gpu1:8001"}, {}, "triton_url cannot be 'http://gpu1:8001'"),
        ({"triton_url": "gpu1:8001,gpu2"}, {}, "triton_url cannot be 'gpu1:8001,gpu2'"),
        ({"triton_url": "gpu1:80010"}, {}, "triton_url cannot be 'gpu1:80010'"),
        ({"triton_url": "::1:8001"}, {}, "triton_url cannot be '::1:8001'"),
        ({"inbox_ms": 0}, {}, "inbox_ms cannot be 0; expected a whole number from 1 to"),
        (
            {"batch_window_ms": 500},
            {},
            "batch_window_ms cannot be 500; expected a number from 0 to 100",
        ),
        ({"models": "wav2lip"}, {}, "default_model 'tpsm' is not among models"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_way_out(
    flags: dict[str, object], environment: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config(flags, environment, None)


@pytest.mark.parametrize(
    "text",
    [
        "port = true",
        "port = 80.7",
        "port = 99999",
        "port = [1]",
        "max_renders = 0",
        "max_concurrent_sessions = 1e400",
        "max_session_s = true",
        "max_render_s = nan",
        "max_render_s = inf",
        "resume_ttl_s = -5",
        "send_timeout_s = -1",
        "pacing_lead_ms = -100",
        'bucket = ["a"]',
        "host = 5",
        "storage = true",
        'storage = ""',
        "insecure = 1",
        "fallback_chain = 5",
        "default_model = ['tpsm']",
        "[models]\ntpsm = 1",
    ],
)
def test_a_value_of_another_kind_or_beyond_its_range_is_refused_by_its_key(
    text: str, tmp_path: Path
) -> None:
    file = tmp_path / "lipsync.toml"
    file.write_text(text)
    key = text.strip("[").split(" ")[0].split("]")[0]
    with pytest.raises(ConfigError, match=rf"^{key} cannot be .*; expected "):
        load_config({}, {}, file)


@pytest.mark.parametrize("text", ["9000", " 9000 ", "9_000", "9e3", "9000.0"])
def test_a_whole_number_is_read_from_every_form_of_it(text: str) -> None:
    assert load_config({}, {"LIPSYNC_PORT": text}, None).port == 9000


@pytest.mark.parametrize("text", ["true", "TRUE", "1"])
def test_a_switch_is_read_from_words_and_digits(text: str) -> None:
    assert load_config({}, {"LIPSYNC_INSECURE": text}, None).insecure is True


def test_every_number_has_a_range() -> None:
    numbers = [
        entry
        for entry in fields(ServiceConfig)
        if isinstance(entry.default, int | float) and not isinstance(entry.default, bool)
    ]
    assert numbers
    for entry in numbers:
        with pytest.raises(ConfigError, match=entry.name):
            ServiceConfig(**{entry.name: 1e12})


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("https://a.example/", "https://a.example"),
        ("HTTPS://A.example:443", "https://a.example"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("null", "null"),
    ],
)
def test_an_origin_is_compared_as_browsers_send_it(written: str, used: str) -> None:
    assert load_config({"allowed_origins": written}, {}, None).allowed_origins == (used,)


@pytest.mark.parametrize(
    "written", ["*", "a.example", "https://a.example/page", "https://ann@a.example", "https://"]
)
def test_what_is_no_origin_is_refused(written: str) -> None:
    with pytest.raises(
        ConfigError, match=r"allowed_origins cannot be .*; expected origins such as"
    ):
        ServiceConfig(allowed_origins=(written,))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[auth.token]\n"SECRET" = "ann"', "table 'auth_token'; did you mean 'auth_tokens'"),
        ('[tokens]\n"SECRET" = "ann"', "table 'tokens'; did you mean 'auth_tokens'"),
        ('[auth]\n"SECRET" = "ann"', "key in .auth."),
        ('auth_jwt_kee = "SECRET"', "did you mean 'auth_jwt_key'"),
        ('[auth.tokens]\n"SECRET" = ["ann"]', "auth_tokens cannot be the given value"),
        ('[auth.tokens]\n"SECRET" = ""', "auth_tokens cannot be the given value"),
        ('[host]\n"SECRET" = "ann"', "host cannot be a table"),
    ],
)
def test_a_token_in_the_wrong_place_is_not_repeated(text: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "lipsync.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=told) as caught:
        load_config({}, {}, file)
    assert "SECRET" not in str(caught.value)


def test_a_token_may_end_as_base64_does() -> None:
    config = load_config({}, {"LIPSYNC_AUTH_TOKENS": "c2VjcmV0MQ===ann,YWI==bob"}, None)
    assert config.auth_tokens == {"c2VjcmV0MQ==": "ann", "YWI=": "bob"}


@pytest.mark.parametrize("tokens", ["=ann", "alpha=", "alpha=ann,beta"])
def test_neither_a_token_nor_its_user_is_empty(tokens: str) -> None:
    with pytest.raises(ConfigError, match="TOKEN=USER"):
        load_config({}, {"LIPSYNC_AUTH_TOKENS": tokens}, None)


def test_a_file_of_another_encoding_is_named(tmp_path: Path) -> None:
    file = tmp_path / "lipsync.toml"
    file.write_bytes(b"\xff\xfep\x00")
    with pytest.raises(ConfigError, match=r"lipsync\.toml: 'utf-8' codec"):
        load_config({}, {}, file)
    file.write_bytes(b"\xef\xbb\xbfport = 81")
    assert load_config({}, {}, file).port == 81


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("port =")
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        load_config({}, {}, file)


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:8001", "gpu-1.lan:1", "[::1]:8001", "gpu1:8001, gpu2:8001"]
)
def test_an_address_of_triton_names_host_and_port(address: str) -> None:
    assert ServiceConfig(triton_url=address).triton_urls == [
        each.strip() for each in address.split(",") if each
    ]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_needs_no_flag(host: str) -> None:
    assert ServiceConfig(host=host).host == host


def test_insecure_opens_other_addresses() -> None:
    assert ServiceConfig(host="0.0.0.0", insecure=True).host == "0.0.0.0"


def test_the_last_resort_is_served_whatever_models_says() -> None:
    config = load_config({"models": "wav2lip,tpsm"}, {}, None)
    assert [model.value for model in SHIPPED_MODELS if config.serves(model)] == [
        "tpsm",
        "wav2lip",
        "static",
    ]
    assert all(ServiceConfig().serves(model) for model in SHIPPED_MODELS)


def test_tables_of_the_file_are_prefixes_of_keys(tmp_path: Path) -> None:
    file = tmp_path / "lipsync.toml"
    file.write_text('[auth]\njwt_key = "k"\n[auth.tokens]\nalpha = "ann"\nbeta = "bob"\n')
    config = load_config({}, {}, file)
    assert (config.auth_jwt_key, config.auth_tokens) == ("k", {"alpha": "ann", "beta": "bob"})
    assert (
        load_config({}, {"LIPSYNC_AUTH_TOKENS": "alpha=ann, beta=bob"}, None).auth_tokens
        == config.auth_tokens
    )


def test_with_tokens_the_service_may_listen_everywhere() -> None:
    assert ServiceConfig(host="0.0.0.0", auth_tokens={"alpha": "ann"}).host == "0.0.0.0"


def test_what_is_printed_gives_the_configuration_again_without_its_secrets(tmp_path: Path) -> None:
    config = ServiceConfig(
        port=9,
        allowed_origins=("https://a.example",),
        auth_tokens={"alpha": "ann"},
        auth_jwt_key="k3y",
    )
    text = printed(config)
    assert "alpha" not in text + repr(config)
    assert "k3y" not in text + repr(config)
    file = tmp_path / "printed.toml"
    file.write_text(text)
    again = load_config({"auth_tokens": "alpha=ann", "auth_jwt_key": "k3y"}, {}, file)
    assert again == config


@pytest.mark.parametrize(
    "name",
    ["\U0001f600", "donn\u00e9es", "a\x7fb", 'quo"te', "back\\slash", "line\nend\x01", "\\u0041"],
)
def test_a_path_of_any_characters_is_printed_as_it_is_read_in_ascii_alone(
    tmp_path: Path, name: str
) -> None:
    text = printed(ServiceConfig(storage=Path(name), preload_users=("ann",)))
    file = tmp_path / "printed.toml"
    file.write_text(text, encoding="ascii")
    assert load_config({}, {}, file).storage == Path(name)


def test_a_path_that_is_no_text_cannot_be_printed_and_is_named() -> None:
    with pytest.raises(ConfigError, match=r"udcff.* is no Unicode text"):
        printed(ServiceConfig(storage=Path(os.fsdecode(b"faces\xff"))))
