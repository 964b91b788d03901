"""Ten minutes of one turn in virtual time: the whole way of a frame, a client whose sound runs
slow, and a network that jitters.
"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
from fakes import ScriptedAdapter, ScriptedInference, pcm_chunk, scripted_service
from virtual_time import run_virtual

from orchestrator import protocol
from orchestrator.core.config import ServiceConfig
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import LipSyncModel, Resolution, VideoGenerationConfig
from orchestrator.pipeline.session_state import Session
from orchestrator.sessions.live_session import LiveSession
from orchestrator.video.streamer import VideoStreamingService

SECONDS = 600
DRIFT = 100e-6
JITTER_S = 0.06
PLAYOUT_S = 0.4
"""The client plays sound and picture this long after the sound was made: longer than look-ahead and
both ways' jitter.
"""


class Viewer:
    """Plays the sound on a clock that runs slow, shows each frame when it is told to, and reports
    what it sees every second.
    """

    def __init__(self, seed: int) -> None:
        self.offsets: list[float] = []
        self.ends: list[protocol.ResponseEnd] = []
        self._random = np.random.default_rng(seed)
        self._recent: list[float] = []
        self._arrived_s = 0.0
        self.began_s = 0.0

    def jitter_s(self) -> float:
        return float(self._random.uniform(0.0, JITTER_S))

    async def send(self, message: protocol.ServerMessage) -> None:
        if isinstance(message, protocol.ResponseEnd):
            self.ends.append(message)
        if not isinstance(message, protocol.ResponseVideo):
            return
        now = asyncio.get_running_loop().time()
        self._arrived_s = max(
            self._arrived_s, now + self.jitter_s()
        )  # a stream does not overtake itself
        shown_s = max(self._arrived_s, self.began_s + message.timestamp / 1000.0 + PLAYOUT_S)
        heard_ms = 1000.0 * (shown_s - self.began_s - PLAYOUT_S) * (1.0 - DRIFT)
        self.offsets.append(message.audio_timestamp - heard_ms)
        self._recent.append(self.offsets[-1])

    def take_report(self) -> float:
        """Of the last second, as the page does it: the mean."""
        mean = float(np.mean(self._recent)) if self._recent else 0.0
        self._recent.clear()
        return mean


async def ten_minutes() -> tuple[Viewer, LiveSession]:
    loop = asyncio.get_running_loop()
    models = {model: ScriptedAdapter(model) for model in (LipSyncModel.TPSM, LipSyncModel.STATIC)}
    config = ServiceConfig()
    session = Session("s", "user-1", inbox_ms=config.inbox_ms, outbox_frames=config.outbox_frames)
    service: Any = SimpleNamespace(
        config=config,
        instance="here",
        metrics=Metrics(),
        pipeline=scripted_service(models, ScriptedInference({"tpsm"}), config),
        streaming=VideoStreamingService(lambda _: session.delivery.stream, loop.time),
    )
    live, viewer = LiveSession(session, service), Viewer(seed=1)
    live.config = VideoGenerationConfig(resolution=Resolution(128, 128))
    running = asyncio.create_task(live.run())
    sink: Any = viewer
    live.attach(sink)
    viewer.began_s = loop.time()
    reports = asyncio.create_task(report_every_second(live, viewer))
    await speak(live, viewer)
    reports.cancel()
    await session.audio.inbox.close()
    await running
    return viewer, live


async def speak(live: LiveSession, viewer: Viewer) -> None:
    """Chunks leave as they are spoken and arrive as the network pleases, in order."""
    loop = asyncio.get_running_loop()
    arrives_s = viewer.began_s
    for number in range(SECONDS * 10):
        arrives_s = max(arrives_s, viewer.began_s + 0.1 * (number + 1) + viewer.jitter_s())
        await asyncio.sleep(arrives_s - loop.time())
        chunk = pcm_chunk(sequence_number=number, timestamp_ms=100.0 * number)
        config = protocol.WireConfig()
        await live.receive(protocol.AudioRequest("s", "user-1", chunk, "face-1", None, "t", config))
    await live.end_turn()


async def report_every_second(live: LiveSession, viewer: Viewer) -> None:
    while True:
        await asyncio.sleep(1.0 + viewer.jitter_s())
        live.report(protocol.ClientReport("s", av_offset_ms=viewer.take_report()))


def test_the_viewers_offset_stays_within_45_ms_and_what_was_corrected_is_told() -> None:
    viewer, live = run_virtual(ten_minutes())
    offsets = np.abs(viewer.offsets)
    assert len(offsets) == SECONDS * 20
    assert np.percentile(offsets, 99) < 45.0
    assert np.percentile(offsets, 50) < 10.0
    (end,) = viewer.ends
    assert 30.0 < end.metrics.sync_correction_ms < 75.0  # ten minutes at 100 ppm are 60 ms
    assert end.metrics.av_offset_ms is not None
    assert abs(end.metrics.av_offset_ms) < 15.0
    assert end.metrics.jitter_ms >= 0.0
    assert end.metrics.bitrate_bps == round(8 * end.metrics.bytes_sent / SECONDS)
    assert live.session.delivery.stream.sync.corrections > 5
