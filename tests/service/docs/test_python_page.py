"""The programs of the page for Python programs work as they stand."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import simplejpeg
from project_root import ROOT

from orchestrator.audio.service import AudioFeatureService
from orchestrator.core.config import ServiceConfig
from orchestrator.core.types import LipSyncModel, VideoFormat
from orchestrator.sessions.service import LipSyncService

HELLO = str(ROOT / "orchestrator/server/static/samples/hello.wav")
FIRST, *LATER = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL
)


@pytest.fixture
def page() -> dict[str, Any]:
    """Every function of the page, each after those before it."""
    names: dict[str, Any] = {"__name__": "page"}
    for block in (FIRST, *LATER):
        exec(block, names)
    return names


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[LipSyncService]:
    async with LipSyncService(
        config=ServiceConfig(storage=tmp_path, chunk_deadline_ms=60_000)
    ) as opened:
        yield opened


async def test_the_pages_first_program_writes_a_picture_for_every_50_ms(tmp_path: Path) -> None:
    program = FIRST.replace('"orchestrator/', f'"{ROOT}/orchestrator/')
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=tmp_path)
    assert await process.wait() == 0
    frames = sorted(tmp_path.glob("frame-*.jpg"))  # noqa: ASYNC240 - a handful of files
    assert len(frames) > 80
    assert simplejpeg.decode_jpeg_header(frames[0].read_bytes())[:2] == (256, 256)


async def test_the_pages_models_are_chosen_switched_and_measured(
    page: dict[str, Any], service: LipSyncService
) -> None:
    results = await page["models"](service, page["chunks"](HELLO))
    assert {result.model for result in results} == {LipSyncModel.TPSM, LipSyncModel.STATIC}
    assert {result.gpu_memory_peak_mb for result in results} == {None}, "no GPU is no figure"


def test_the_pages_sound_has_its_features_quality_and_phonemes(
    page: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    sounds = page["analyse"](AudioFeatureService(), page["chunks"](HELLO))
    assert len(sounds) > 2
    told = capsys.readouterr().out
    assert "(101, 80) (101, 13) (101,) 1000.0" in told
    assert "the same again: True" in told
    assert "2205" in told


async def test_the_pages_faces_are_preloaded_checked_and_cut_out(
    page: dict[str, Any], service: LipSyncService, capsys: pytest.CaptureFixture[str]
) -> None:
    cut_out = await page["faces"](service)
    assert cut_out.aligned_face.shape[0] >= 256
    assert "('demo',) tpsm []" in capsys.readouterr().out


async def test_the_pages_frames_are_thinned_coded_and_moved(
    page: dict[str, Any], service: LipSyncService, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = await page["speak"](service, page["chunks"](HELLO)[:20], VideoFormat.H264)
    shown = await page["adapt"](service, frames)
    assert "225.0 40 30 20" in capsys.readouterr().out
    assert {frame.format for frame in shown} == {VideoFormat.H264}, (
        "the tail too, although the turn is over"
    )
    assert shown[0].timestamp_ms == 40.0
