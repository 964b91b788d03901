"""The README's program works as it stands."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import simplejpeg

ROOT = Path(__file__).parents[2]


(PROGRAM,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


async def test_the_readmes_program_writes_a_picture_for_every_50_ms(service_url: str, tmp_path: Path) -> None:
    program = PROGRAM.replace("http://127.0.0.1:8080", service_url).replace('"orchestrator/', f'"{ROOT}/orchestrator/')
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, cwd=tmp_path)
    assert await process.wait() == 0
    frames = sorted(tmp_path.glob("frame-*.jpg"))  # noqa: ASYNC240 - a handful of files
    assert len(frames) > 80
    assert simplejpeg.decode_jpeg_header(frames[0].read_bytes())[:2] == (256, 256)
