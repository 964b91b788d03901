"""A Triton that others run: the log names one that is not there, once, and says when it is back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
from ready_models import Served

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.inference import InferenceError
from orchestrator.inference.model_contract import ModelContract, Repository
from orchestrator.inference.triton import external_server
from orchestrator.inference.triton.external_server import ExternalServer

MODELS = ("audio2motion", "tpsm")


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is there may be slow to say so; one that is not refuses at once."""
    monkeypatch.setattr(external_server, "TIMEOUT_S", 60.0)


def watcher(url: str) -> ExternalServer:
    repository = Repository(Path("nowhere"), {name: cast(ModelContract, None) for name in MODELS})
    return ExternalServer(url, repository)


async def until(watched: ExternalServer, true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60.0):
        while not true():
            watched.report_failure(
                "tpsm", InferenceError(LipSyncErrorCode.GPU_UNAVAILABLE, "look again", model="tpsm")
            )
            await asyncio.sleep(0.01)


async def test_a_server_that_is_not_there_is_named_with_the_reason_and_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    served = Served()
    url = served.start()
    served.stop()
    watched = watcher(url)
    with caplog.at_level(logging.INFO):
        await watched.start()
        for _ in range(3):
            await watched._look()
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert f"Triton at {url} does not answer (UNAVAILABLE: " in caplog.text
        served.start()
        await until(watched, lambda: "answers, and has no model of ours ready" in caplog.text)
        served.models.ready = {"tpsm"}  # one alone: a look that is under way sees it or does not
        await until(watched, lambda: watched.has_ready("tpsm"))
        await watched.stop()
    served.stop()
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]
    assert caplog.messages[-1] == f"Triton at {url} has ready: tpsm"


async def test_what_is_lost_is_a_warning_and_what_is_back_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    served = Served()
    served.models.ready = set(MODELS)
    url = served.start()
    watched = watcher(url)
    with caplog.at_level(logging.INFO):
        await watched.start()
        served.models.ready = {"tpsm"}
        await until(watched, lambda: not watched.has_ready("audio2motion"))
        served.stop()
        await until(watched, lambda: not watched.has_ready("tpsm"))
        served.models.ready = set(MODELS)
        served.start()
        await until(watched, lambda: watched.has_ready("tpsm"))
        await watched.stop()
    served.stop()
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert told[0] == ("INFO", f"Triton at {url} has ready: audio2motion, tpsm")
    assert told[1] == ("WARNING", f"Triton at {url} lost audio2motion; it has ready: tpsm")
    assert told[2][0] == "WARNING"
    assert told[2][1].startswith(f"Triton at {url} lost tpsm (UNAVAILABLE: ")
    assert told[3:] == [("INFO", f"Triton at {url} has ready: audio2motion, tpsm")]
