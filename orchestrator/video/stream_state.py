"""State of the stream to one client: encoder, adaptation, synchronisation and statistics."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from orchestrator.core.types import RgbImage, VideoGenerationConfig
from orchestrator.video.adaptation.bitrate import moved
from orchestrator.video.adaptation.quality_controller import (
    Decision,
    DueFrames,
    Load,
    QualityController,
    StreamRates,
)
from orchestrator.video.av_sync import SyncTracker
from orchestrator.video.encoder import EncodedPicture, Encoder, JpegEncoder, make_encoder

JITTER_SMOOTHING: Final = 1.0 / 16.0
"""Weight of a sample in the running mean of latency differences (RFC 3550, section 6.4.1)."""

CARRIED_OVER_S: Final = 1.0
"""Period over which the carried rate is measured."""


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
    """Stream of one session; written by the session's sender and by the encoding of its frames."""

    quality: QualityController = field(default_factory=QualityController)
    sync: SyncTracker = field(default_factory=SyncTracker)
    metrics: StreamingMetrics = field(default_factory=StreamingMetrics)
    since_keyframe: int = 0
    """Frames encoded since the last keyframe, that one included."""
    _encoder: Encoder | None = None
    _built_for: VideoGenerationConfig | None = None
    _built_bps: int = 0
    _departures: deque[tuple[float, int]] = field(default_factory=deque)
    _recent_bytes: int = 0
    _recent: deque[tuple[float, int]] = field(default_factory=deque)

    def decide(
        self,
        due: DueFrames,
        now: float,
        *,
        queue_fill: float,
        batch_load: float,
        late_s: float,
        adapts_bitrate: bool,
    ) -> Decision:
        """Select from the due frames by the load of client and model; see `Load`. To be called
        before every batch, at `now` in monotonic seconds.
        """
        rates = None
        if adapts_bitrate:
            rates = StreamRates(self.metrics.current_bitrate_bps, self._carried_bps(now))
        return self.quality.decide(due, Load(queue_fill, batch_load, late_s, rates), now)

    def _carried_bps(self, now: float) -> float:
        """Rate at which frames left during about the last second; infinite until that much time
        was observed.
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
        """Begin anew with a keyframe: the last frames may never have arrived."""
        self._encoder = None

    def encode(
        self,
        image: RgbImage,
        config: VideoGenerationConfig,
        audio_timestamp_ms: float,
        *,
        force_keyframe: bool,
    ) -> EncodedPicture:
        """One encoded picture. The encoder is rebuilt for another size or frame rate, and for a
        target that moved by more than `REBUILD_SHARE`.
        """
        picture = self._encoder_for(config).encode(image, force_keyframe=force_keyframe)
        self.since_keyframe = 1 if picture.is_keyframe else self.since_keyframe + 1
        self._measure(audio_timestamp_ms, len(picture.data))
        self.quality.note_encoded(audio_timestamp_ms, 8 * len(picture.data), config.format)
        return picture

    def _encoder_for(self, config: VideoGenerationConfig) -> Encoder:
        bitrate, target_bps = self.quality.bitrate, self.quality.target_bps(config.format)
        known = self._encoder if config == self._built_for else None
        if isinstance(known, JpegEncoder):
            known.aim(target_bps)
        elif known is None or moved(self._built_bps, bitrate):
            known = make_encoder(
                config.format,
                config.resolution.width,
                config.target_fps,
                config.quality,
                target_bps,
            )
            self._built_for, self._built_bps = config, bitrate.target_bps
        self._encoder = known
        return known

    def _measure(self, audio_timestamp_ms: float, size_bytes: int) -> None:
        if self._recent and audio_timestamp_ms < self._recent[-1][0]:
            self._recent.clear()  # a new turn has another clock
            self._recent_bytes = 0
        self._recent.append((audio_timestamp_ms, size_bytes))
        self._recent_bytes += size_bytes
        while audio_timestamp_ms - self._recent[0][0] >= 1000.0:
            self._recent_bytes -= self._recent.popleft()[1]
        self.metrics.current_bitrate_bps = 8.0 * self._recent_bytes
