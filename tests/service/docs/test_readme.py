"""The programs of the README and of the clients' page work as they stand."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest
import simplejpeg
from project_root import ROOT


def programs(page: str) -> list[str]:
    """Those that are whole, and write frames."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return [block for block in blocks if "frame-" in block]


@pytest.mark.parametrize("page", ["README.md", "docs/clients.md"])
async def test_the_pages_program_writes_a_picture_for_every_50_ms(
    service_url: str, tmp_path: Path, page: str
) -> None:
    (program,) = programs(page)
    program = program.replace("http://127.0.0.1:8080", service_url).replace(
        '"orchestrator/', f'"{ROOT}/orchestrator/'
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=tmp_path)
    assert await process.wait() == 0
    frames = sorted(tmp_path.glob("frame-*.jpg"))  # noqa: ASYNC240 - a handful of files
    assert len(frames) == 110  # of 5.455 s: the last one is that of the last 5 ms
    assert simplejpeg.decode_jpeg_header(frames[0].read_bytes())[:2] == (256, 256)


def test_the_readmes_program_is_ten_lines() -> None:
    (program,) = programs("README.md")
    assert len([line for line in program.splitlines() if line.strip()]) <= 10
