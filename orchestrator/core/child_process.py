"""Child processes that run one module of ours, and end with the call that started them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.core.child_environment import child_environment


@dataclass(frozen=True, slots=True)
class Finished:
    """Result of a child process."""

    status: int
    """Exit status; negative for a signal."""
    output: bytes
    complaint: str
    """Text of the standard error, stripped."""


async def run_module(
    module: str, *arguments: str, launcher: Sequence[str] = (), timeout_s: float | None = None
) -> Finished:
    """Run `python -m module` to its end, and return its output.

    `launcher` is a command that becomes the process. Raises TimeoutError after `timeout_s`. The
    process is killed on every way out of here.
    """
    pipe = asyncio.subprocess.PIPE
    command = (*launcher, sys.executable, "-m", module, *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=pipe, stderr=pipe, env=child_environment()
    )
    try:
        async with asyncio.timeout(timeout_s):
            output, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    status = await process.wait()
    return Finished(status, output, complaint.decode(errors="replace").strip())
