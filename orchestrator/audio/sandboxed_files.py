"""Read an uploaded recording in a child process with bounded memory and CPU time.

A few hundred bytes of MP4 tables can make FFmpeg allocate gigabytes, and no check covers all places
where they may lie. Started by `read_apart` alone: python -m orchestrator.audio.sandboxed_files
FOLDER MAX_DURATION_S as-heard|whole
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np

from orchestrator.audio.files import Sound, decode_sound, sound_of
from orchestrator.core.child_process import run_module
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode, invalid_field

logger = logging.getLogger(__name__)

MEMORY_BYTES: Final = 512 * 1024 * 1024
"""Memory for decoding beside the program itself; recordings take a tenth of it."""

CPU_S: Final = 120
"""CPU time limit; ten minutes of any common kind take seconds."""

NICENESS: Final = 10
"""Niceness of the child process, so that sessions come first."""

RECORDING, SAMPLES = "recording", "samples"
REFUSED, NO_ROOM = 3, 4
"""Exit status with the reason on standard error: a bad recording, a full temporary folder."""

RETRY_S: Final = 30
"""Retry hint: a full temporary folder has room again when other requests end."""

MAX_LOGGED_CHARACTERS: Final = 2000
"""Characters of the end of a traceback that are logged."""


async def read_apart(recording: bytes, *, max_duration_s: float, as_heard: bool = False) -> Sound:
    """As `read_sound`, or with `as_heard` as `read_audio`, in a child process.

    AUDIO_PROCESSING_FAILED also where it would take too much memory or time. SESSION_LIMIT where
    the temporary folder has no room for it. The samples lie in a file that is removed with their
    last use. Cancelling ends the process.
    """
    try:
        with TemporaryDirectory(prefix="lipsync-audio-") as name:
            folder = Path(name)
            await asyncio.to_thread((folder / RECORDING).write_bytes, recording)
            channels, rate_hz = map(
                int,
                (
                    await _decoded(folder, max_duration_s, "as-heard" if as_heard else "whole")
                ).split(),
            )
            return sound_of(
                np.asarray(np.memmap(folder / SAMPLES, np.float32, "r")), channels, rate_hz
            )
    except OSError as error:
        logger.error("a recording cannot be decoded on this machine: %s", error)
        message = (
            "the service has no room to decode a recording now; try again, or ask the operator"
        )
        raise LipSyncError(
            LipSyncErrorCode.SESSION_LIMIT, message, details={"retryAfterS": RETRY_S}
        ) from None


async def _decoded(folder: Path, max_duration_s: float, form: str) -> bytes:
    finished = await run_module(__name__, str(folder), str(max_duration_s), form)
    if finished.status == 0:
        return finished.output
    if finished.status == NO_ROOM:
        raise OSError(finished.complaint)
    if finished.status == REFUSED:
        raise _bad(finished.complaint)
    logger.warning(
        "decoding a recording ended with status %d: %s",
        finished.status,
        finished.complaint[-MAX_LOGGED_CHARACTERS:],
    )
    raise _bad("decoding the file takes more memory or time than a recording's does")


def _bad(message: str) -> LipSyncError:
    return invalid_field("audio", message, LipSyncErrorCode.AUDIO_PROCESSING_FAILED)


def main(folder: Path, max_duration_s: float, as_heard: bool) -> int:
    """Write the samples into the folder, and their channels and rate to standard output."""
    import av  # noqa: F401 - loaded before the limits, which are for the recording alone
    import soxr  # noqa: F401

    os.nice(NICENESS)
    _bound()
    try:
        with (folder / RECORDING).open("rb") as file, (folder / SAMPLES).open("wb") as samples:
            kind = decode_sound(
                file, samples.write, max_duration_s=max_duration_s, as_heard=as_heard
            )
    except LipSyncError as error:
        print(error.message.removeprefix("audio: "), file=sys.stderr)
        return REFUSED
    except OSError as error:
        print(error, file=sys.stderr)
        return NO_ROOM
    print(*kind)
    return 0


def _bound() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "as-heard"))
