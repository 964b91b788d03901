"""How many speaking faces this machine carries: CPU time of the default model's frames, measured
once through the real inference.
"""

from __future__ import annotations

import asyncio
import logging
import math
import multiprocessing
import time
import wave
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.core.backoff import Backoff
from orchestrator.core.cgroup import usable_cores
from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.paths import SAMPLES
from orchestrator.core.types import AudioChunk, AudioFormat, VideoGenerationConfig
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER
from orchestrator.models.base import ModelAdapter
from orchestrator.pipeline.benchmark import Benchmark
from orchestrator.pipeline.circuit_breaker import PerformanceTracker
from orchestrator.video.generator import VideoGeneratorService

logger = logging.getLogger(__name__)

SPEECH: Final = SAMPLES / "hello.wav"

CHUNKS: Final = 20
CHUNK_S: Final = 0.1
"""Two seconds of speech a round, as a live session would send it."""

LONGEST_S: Final = 1.0
"""No round begins later; the first one always runs to its end."""

ROUNDS: Final = 5
"""The cheapest one counts: the others shared the machine with something else."""

WATCHED_S: Final = 0.2
"""Beside each round: what goes on without it (models being loaded, sessions) is not counted against
it.
"""

SENDING_MS: Final = 0.6
"""CPU time of a frame on top of drawing it: the stages receive, decode, encode (JPEG at 256 x 256)
and send of `lipsync bench`.
"""

PAUSES: Final = 0.2
"""Share of a speaker's time that is silence, whose frames no model draws."""

RETRY_S: Final = 3.0
"""Wait before the next check of a model that does not answer."""

RETRIES: Final = Backoff(RETRY_S, 60.0)
"""Waits after failed measurements."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the probe found."""

    faces: int
    """That may speak at once, each at `fps`."""
    cpu_ms_per_frame: float
    """Drawing and sending."""
    cores: float
    fps: float


def capacity_of(drawing_ms: float, cores: float, fps: float) -> Capacity:
    """From CPU milliseconds per drawn frame; never less than one face."""
    cost_ms = max(drawing_ms, 0.0) + SENDING_MS
    return Capacity(
        max(1, math.floor(cores * 1000.0 / (cost_ms * fps * (1.0 - PAUSES)))), cost_ms, cores, fps
    )


def cost_of_round(spent_s: float, wall_s: float, beside: float, frames: int) -> float:
    """CPU milliseconds per frame of a round that took `wall_s`, while `beside` cores were busy with
    something else.
    """
    return 1000.0 * max(0.0, spent_s - beside * wall_s) / frames


def is_measured(config: ServiceConfig) -> bool:
    """True where the probe tells the capacity. With a Triton elsewhere it would count only the
    orchestrator's own CPU.
    """
    return config.capacity_probe and not config.triton_urls


async def until_measured(
    ready: Callable[[], Awaitable[bool]], measured: Callable[[], Awaitable[Capacity]]
) -> Capacity:
    """Retry until a measurement succeeds. Admission control is off until then."""
    wait_s = 0.0
    while True:
        while not await ready():  # noqa: ASYNC110 - its server is another process
            await asyncio.sleep(RETRY_S)
        try:
            return await measured()
        except LipSyncError as error:
            wait_s = RETRIES.after(wait_s)
            logger.warning(
                "capacity is not known: %s; measured again in %g s", error.message, wait_s
            )
        await asyncio.sleep(wait_s)


async def measure(
    adapter: ModelAdapter, faces: FaceModelCacheService, video: VideoGeneratorService
) -> Capacity:
    """Draw the shipped face for about a second. Counts for no statistics; raises `LipSyncError`
    where the model does not draw.
    """
    face = await faces.load_face_model(DEMO_USER, DEMO_FACE)
    speech, quiet = await asyncio.to_thread(_speech), VideoGeneratorService(video.inference)
    benchmark = Benchmark([adapter], faces, quiet, PerformanceTracker())
    began_s, costs_ms = time.monotonic(), list[float]()
    while not costs_ms or (len(costs_ms) < ROUNDS and time.monotonic() - began_s < LONGEST_S):
        beside = await _beside()
        spent_s, round_s = cpu_s(), time.monotonic()
        results = await benchmark.run(face, speech)
        if not results:
            raise LipSyncError(
                LipSyncErrorCode.VIDEO_GENERATION_FAILED,
                f"{adapter.spec.model.value} drew nothing to measure",
            )
        costs_ms.append(
            cost_of_round(
                cpu_s() - spent_s, time.monotonic() - round_s, beside, results[0].frames_generated
            )
        )
    return capacity_of(min(costs_ms), usable_cores(), VideoGenerationConfig().target_fps)


def cpu_s() -> float:
    """CPU seconds so far of this process and, where psutil is there, of those below it: the
    embedded server and its backends.
    """
    try:
        import psutil
    except ImportError:  # comes with the embedded server
        return time.process_time()
    parent = multiprocessing.parent_process()  # of a worker: the server stands below it
    root = psutil.Process(None if parent is None else parent.pid)
    times = root.cpu_times()
    spent: float = times.user + times.system
    for child in root.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:  # it ended meanwhile
            continue
        spent += times.user + times.system
    return spent


async def _beside() -> float:
    """Cores that this process and those below it keep busy without a round."""
    spent_s, began_s = cpu_s(), time.monotonic()
    await asyncio.sleep(WATCHED_S)
    return (cpu_s() - spent_s) / (time.monotonic() - began_s)


def _speech() -> Sequence[AudioChunk]:
    with wave.open(str(SPEECH)) as file:
        rate_hz, samples = file.getframerate(), round(CHUNK_S * file.getframerate())
        pieces = [file.readframes(samples) for _ in range(CHUNKS)]
    return [
        AudioChunk(data, 1000.0 * CHUNK_S * number, number, rate_hz, 1, AudioFormat.PCM)
        for number, data in enumerate(pieces)
    ]
