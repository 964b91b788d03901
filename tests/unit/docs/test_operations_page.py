"""docs/operations.md names every setting, states the limits as they are, and its configuration
loads.
"""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from project_root import ROOT

from orchestrator import protocol
from orchestrator.core.config import ServiceConfig
from orchestrator.core.config_loading import named_settings
from orchestrator.faces import image_decoding, revalidation
from orchestrator.faces.storage import circuit_breaker, executor
from orchestrator.server.http import benchmark, faces, recordings, uploads
from orchestrator.sessions import admission

PAGE = (ROOT / "docs" / "operations.md").read_text()
SENTENCES = " ".join(PAGE.split())
DEFAULTS = ServiceConfig()


@pytest.mark.parametrize("key", [entry.name for entry in fields(ServiceConfig)])
def test_every_setting_is_named(key: str) -> None:
    assert re.search(rf"\b{key}\b", PAGE), f"{key} is not on the page"


@pytest.mark.parametrize(("key", "said"), re.findall(r"`(\w+)` (\d[\d ]*\d|\d)(?![\w.])", PAGE))
def test_defaults_are_as_the_page_says(key: str, said: str) -> None:
    assert getattr(DEFAULTS, key) == float(said.replace(" ", ""))


def test_fixed_limits_are_as_the_page_says() -> None:
    mib = 2**20
    limits = {
        "32 MiB": 32 * mib == protocol.MAX_MESSAGE_BYTES,
        "4 MiB": 4 * mib == protocol.MAX_AUDIO_BYTES,
        "20 MiB, 25 megapixels": (20 * mib, 25_000_000)
        == (faces.MAX_PHOTO_BYTES, image_decoding.MAX_PIXELS),
        "4 uploads of a caller at once, 512 MiB": (4, 512 * mib)
        == (uploads.MAX_UPLOADS, uploads.MAX_UPLOADED_BYTES),
        "16 parts, 60 s": (uploads.MAX_PARTS, uploads.UPLOAD_TIMEOUT_S) == (16, 60.0),
        "| JSON body | 8 MiB": 8 * mib == uploads.MAX_BODY_BYTES,
        "64 MiB": 64 * mib == recordings.MAX_RECORDING_BYTES,
        "10 s of audio": benchmark.MAX_BENCHMARK_S == 10.0,
        "8 at once, 256 in line, 32 of them": (
            executor.MAX_THREADS,
            executor.MAX_WAITING_CALLS,
            circuit_breaker.MAX_CALLS_PER_USER,
        )
        == (8, 256, 32),
        "waits for it half a second": revalidation.PATIENCE_S == 0.5,
        "After two seconds": (circuit_breaker.AWAY_AFTER_S, circuit_breaker.PROBE_S) == (2.0, 2.0),
        "`retryAfterS`": admission.RETRY_AFTER_S > 0,
    }
    assert all(text in SENTENCES and holds for text, holds in limits.items()), limits


def test_the_configuration_loads(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "lipsync.toml"
    file.write_text(text)
    config = ServiceConfig(**named_settings({}, {}, file))
    assert config.asks_for_tokens
    assert config.auth_tokens == {"a-long-random-token": "ann"}


def test_links_lead_somewhere() -> None:
    docs = ROOT / "docs"
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", PAGE):
        assert (docs / target).exists(), target
