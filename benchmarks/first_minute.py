"""Delay of the first frames after a start.

    python -m benchmarks.first_minute [--starts 5] [--sizes 256 512 128]

Each start runs `lipsync serve`, waits for `/readyz`, and sends three turns for each face and size,
one session after another. The faces are the shipped portrait and a photo (scikit-image's
astronaut), which is enrolled once before the first start. Every turn has other sound, and the frame
cache is off. Prints medians and 95th percentiles in ms.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import wave
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.shared import command_line
from benchmarks.speaking_faces import photo_file
from orchestrator.cli.bench.service_process import ServiceProcess, running_service
from orchestrator.client import ClientSession, connect
from orchestrator.core.paths import SAMPLES
from orchestrator.core.types import LipSyncModel
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER

PHOTO: Final = "astronaut"
TURNS: Final = 3
TURN_S: Final = 0.6
SKIPPED_S: Final = 0.3
"""Silence at the start of each sample, before its first word."""

POLL_S: Final = 0.01
"""Interval of the requests to `/readyz`."""

PROBED: Final = {"LIPSYNC_CAPACITY_PROBE": "1"}
"""Capacity probe as by default: the service measures its machine in the same minute."""


class Figures:
    """Delays in milliseconds by name."""

    def __init__(self) -> None:
        self._values: defaultdict[str, list[float]] = defaultdict(list)
        self.fallback_frames = 0
        """Frames of other models before the first one of `tpsm`."""

    def add(self, name: str, seconds: float) -> None:
        """Record one delay."""
        self._values[name].append(1000.0 * seconds)

    def table(self) -> Iterator[str]:
        """Yield the lines of a Markdown table."""
        yield "| from ... to | median, ms | p95, ms | each start, ms |"
        yield "|---|---|---|---|"
        for name, values in self._values.items():
            each = " ".join(f"{value:.0f}" for value in values)
            yield f"| {name} | {np.median(values):.0f} | {np.percentile(values, 95):.0f} | {each} |"
        yield f"\nframes of other models before the first of tpsm: {self.fallback_frames}"


def main() -> int:
    """Print the table."""
    parser = command_line("first_minute", __doc__)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 128])
    options = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory() as folder:
        storage = Path(folder)
        _enrol(storage)
        for _ in range(options.starts):
            _start(storage, options.sizes, figures)
    print("\n".join(figures.table()))
    return 0


def _enrol(storage: Path) -> None:
    """Enrol the photo by `lipsync enroll`; CalledProcessError on failure."""
    photo = storage / f"{PHOTO}.png"
    photo.write_bytes(photo_file())
    command = [sys.executable, "-m", "orchestrator", "enroll", str(photo), "--consent"]
    command += ["--storage", str(storage), "--user", DEMO_USER, "--id", PHOTO]
    subprocess.run(command, check=True, capture_output=True)


def _start(storage: Path, sizes: Sequence[int], figures: Figures) -> None:
    began_s = time.time()
    with running_service(["--storage", str(storage)], PROBED) as service:
        figures.add("command to URL", time.time() - began_s)
        _wait_until_ready(service)
        figures.add("command to /readyz 200", time.time() - began_s)
        asyncio.run(_speak(service, began_s, sizes, figures))


def _wait_until_ready(service: ServiceProcess) -> None:
    while True:
        try:
            with urllib.request.urlopen(f"{service.url}/readyz"):
                return
        except urllib.error.HTTPError:
            time.sleep(POLL_S)


async def _speak(
    service: ServiceProcess, began_s: float, sizes: Sequence[int], figures: Figures
) -> None:
    speech, is_first = _pieces(), True
    async with connect(service.url, service.token) as client:
        for size, face in itertools.product(sizes, (DEMO_FACE, PHOTO)):
            session = client.session(user=DEMO_USER, face=face, size=size)
            for number in range(1, TURNS + 1):
                sent_s, seen_s = await _first_frame(session, *next(speech), figures)
                if is_first:
                    figures.add("command to first speaking frame", seen_s - began_s)
                    is_first = False
                figures.add(
                    f"{face}, {size} pixels, turn {number}: first chunk to first frame",
                    seen_s - sent_s,
                )
            await session.close()


async def _first_frame(
    session: ClientSession, pcm: bytes, rate_hz: int, figures: Figures
) -> tuple[float, float]:
    """Send a turn; return the times of its first chunk and first `tpsm` frame, in Unix seconds."""
    seen_s = 0.0
    turn = session.say(pcm, sample_rate=rate_hz)
    async for frame in turn.frames():
        if seen_s == 0.0 and frame.model == LipSyncModel.TPSM.value:
            seen_s = time.time()
        figures.fallback_frames += seen_s == 0.0
    return turn.began_ms / 1000.0, seen_s or time.time()


def _pieces() -> Iterator[tuple[bytes, int]]:
    """Yield the pieces of the page's recordings, each once, with their rate in Hz."""
    for sample in sorted(SAMPLES.glob("*.wav")):
        with wave.open(str(sample)) as clip:
            rate_hz = clip.getframerate()
            clip.setpos(round(SKIPPED_S * rate_hz))
            while piece := clip.readframes(round(TURN_S * rate_hz)):
                yield piece, rate_hz


if __name__ == "__main__":
    raise SystemExit(main())
