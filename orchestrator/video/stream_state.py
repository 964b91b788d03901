"""What the stream to one client remembers: its coder, its target bitrate, its sync, and how it
went.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from orchestrator.core.types import RgbImage, VideoFormat, VideoGenerationConfig
from orchestrator.video.adaptation.bitrate import Bitrate, moved
from orchestrator.video.adaptation.jpeg_budget import Budget
from orchestrator.video.av_sync import SyncTracker
from orchestrator.video.encoder import EncodedPicture, Encoder, JpegEncoder, make_encoder

JITTER_SMOOTHING: Final = 1.0 / 16.0
"""Of the running mean of latency differences (RFC 3550, section 6.4.1)."""

CARRIED_OVER_S: Final = 1.0
"""Over which what left is counted."""


@dataclass(slots=True)
class StreamingMetrics:
    """The specification's figures; a packet is a frame's message, and nothing is lost but what the
    client reports as lost.
    """

    bytes_sent: int = 0
    frames_sent: int = 0
    packets_lost: int = 0
    """Of the frames sent, by the shares that the client reported."""
    latency_ms: float = 0.0
    """Of the last frame, from the last sample of its look-ahead to its leaving."""
    jitter_ms: float = 0.0
    current_bitrate_bps: float = 0.0
    """Over the last second of media."""
    _reported_of: int = 0
    _lost: float = 0.0

    def lost(self, share: float) -> None:
        """The client says which share, 0..1, of the frames sent since its last report did not
        arrive.
        """
        self._lost += min(1.0, max(0.0, share)) * (self.frames_sent - self._reported_of)
        self._reported_of = self.frames_sent
        self.packets_lost = round(self._lost)

    def sent(self, size_bytes: int, latency_ms: float) -> None:
        """One frame left."""
        self.bytes_sent += size_bytes
        self.frames_sent += 1
        self.jitter_ms += JITTER_SMOOTHING * (abs(latency_ms - self.latency_ms) - self.jitter_ms)
        self.latency_ms = latency_ms


@dataclass(slots=True)
class StreamState:
    """Belongs to one session."""

    bitrate: Bitrate = field(default_factory=Bitrate)
    sync: SyncTracker = field(default_factory=SyncTracker)
    metrics: StreamingMetrics = field(default_factory=StreamingMetrics)
    budget: Budget = field(default_factory=Budget)
    since_keyframe: int = 0
    """Frames coded after the last keyframe, itself counted."""
    _encoder: Encoder | None = None
    _built_for: VideoGenerationConfig | None = None
    _built_bps: int = 0
    _departures: deque[tuple[float, int]] = field(default_factory=deque)
    _recent_bytes: int = 0
    _recent: deque[tuple[float, int]] = field(default_factory=deque)

    def carried_bps(self, now: float) -> float:
        """What left in the last second or so, by looks at least that often; infinite until that
        much time was looked at.
        """
        self._departures.append((now, self.metrics.bytes_sent))
        while (
            now - self._departures[0][0] > CARRIED_OVER_S
            and now - self._departures[1][0] >= CARRIED_OVER_S / 2.0
        ):
            self._departures.popleft()
        since_s, bytes_before = self._departures[0]
        passed_s = now - since_s
        return (
            8.0 * (self.metrics.bytes_sent - bytes_before) / passed_s
            if passed_s >= CARRIED_OVER_S / 2.0
            else math.inf
        )

    def restart(self) -> None:
        """What comes next cannot build on what was coded last: it may never have arrived."""
        self._encoder = None

    def affordable(
        self, frames: Sequence[int], timestamps_ms: Sequence[float], config: VideoGenerationConfig
    ) -> list[int]:
        """Those of `frames` to be coded: of JPEG no more than the target pays for; H.264 holds its
        target by itself.
        """
        if config.format is not VideoFormat.JPEG or not self.bitrate.adapted:
            return list(frames)
        return [
            frames[place]
            for place in self.budget.affordable(timestamps_ms, self.bitrate.target_bps)
        ]

    def encode(
        self,
        image: RgbImage,
        config: VideoGenerationConfig,
        audio_timestamp_ms: float,
        *,
        force_keyframe: bool,
    ) -> EncodedPicture:
        """One coded picture; the coder is built anew for another size or rate, and for a target
        that moved by more than a tenth.
        """
        adapted = (
            None
            if config.format is VideoFormat.JPEG and not self.bitrate.adapted
            else self.bitrate.target_bps
        )
        if isinstance(self._encoder, JpegEncoder) and config == self._built_for:
            self._encoder.aim(adapted)
        elif (
            self._encoder is None
            or config != self._built_for
            or moved(self._built_bps, self.bitrate)
        ):
            self._encoder = make_encoder(
                config.format, config.resolution.width, config.target_fps, config.quality, adapted
            )
            self._built_for, self._built_bps = config, self.bitrate.target_bps
        picture = self._encoder.encode(image, force_keyframe=force_keyframe)
        self.since_keyframe = 1 if picture.is_keyframe else self.since_keyframe + 1
        self._measure(audio_timestamp_ms, len(picture.data))
        if config.format is VideoFormat.JPEG:
            self.budget.spend(audio_timestamp_ms, 8 * len(picture.data), adapted)
        return picture

    def _measure(self, audio_timestamp_ms: float, size_bytes: int) -> None:
        if self._recent and audio_timestamp_ms < self._recent[-1][0]:
            self._recent.clear()  # another turn's clock
            self._recent_bytes = 0
        self._recent.append((audio_timestamp_ms, size_bytes))
        self._recent_bytes += size_bytes
        while audio_timestamp_ms - self._recent[0][0] >= 1000.0:
            self._recent_bytes -= self._recent.popleft()[1]
        self.metrics.current_bitrate_bps = 8.0 * self._recent_bytes
