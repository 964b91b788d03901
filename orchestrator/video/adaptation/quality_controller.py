"""Adaptation of one session's stream: which of the due frames are generated, and at what bitrate.

The controller combines the bitrate, the frame rate, frame skipping and the JPEG budget. Their
thresholds are in `thresholds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from orchestrator.core.types import VideoFormat
from orchestrator.video.adaptation.bitrate import Bitrate, after_queue, after_report
from orchestrator.video.adaptation.frame_rate import FrameRate, after_load, is_kept, load_of
from orchestrator.video.adaptation.frame_skipping import congestion_of, kept_frames
from orchestrator.video.adaptation.jpeg_budget import Budget


@dataclass(frozen=True, slots=True)
class DueFrames:
    """Frames that are due next, before any of them is generated."""

    first: int
    """Number of the first one on the grid of the requested frame rate."""
    timestamps_ms: Sequence[float]
    """Media time of each."""
    fps: float
    """Requested frame rate."""
    format: VideoFormat
    since_keyframe: int
    """Frames encoded since the last keyframe, that one included."""


@dataclass(frozen=True, slots=True)
class StreamRates:
    """Measured rates of the stream, in bit/s."""

    coded_bps: float
    """Recent rate of the encoded stream; 0 if unknown."""
    carried_bps: float
    """Recent rate at which frames left; infinite if unknown."""


@dataclass(frozen=True, slots=True)
class Load:
    """Load of a session before its next batch."""

    queue_fill: float
    """Fill of the outbox, 0..1."""
    batch_load: float
    """Generation time of the last batch over its duration."""
    late_s: float
    """Time since the next frame could have been generated."""
    rates: StreamRates | None
    """None where the bitrate is not adapted."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Frames to generate and the quality at which to encode them; their size never changes."""

    keep: list[int]
    """Offsets of the frames to generate, from the first one that is due."""
    fps: float
    """Frame rate in force."""
    target_bps: int | None
    """Target bitrate; None: the configured quality."""


@dataclass(slots=True)
class QualityController:
    """State of one session's adaptation."""

    bitrate: Bitrate = field(default_factory=Bitrate)
    frame_rate: FrameRate = field(default_factory=FrameRate)
    budget: Budget = field(default_factory=Budget)

    def decide(self, due: DueFrames, load: Load, now: float) -> Decision:
        """Update the state by the load, and select from the due frames; `now` is monotonic
        seconds.
        """
        if load.rates is not None:
            rates = load.rates
            self.bitrate = after_queue(
                self.bitrate, load.queue_fill, now, rates.coded_bps, rates.carried_bps
            )
        pressure = load_of(self.frame_rate, load.queue_fill, load.batch_load, load.late_s)
        self.frame_rate = after_load(self.frame_rate, pressure, now)
        fps = self.frame_rate.fps(due.fps)
        return Decision(self._kept(due, fps, load.queue_fill), fps, self.target_bps(due.format))

    def note_report(
        self, bandwidth_kbps: float | None, packet_loss: float | None, now: float
    ) -> None:
        """Set the bitrate by a client's report; `packet_loss` is a share 0..1."""
        self.bitrate = after_report(self.bitrate, bandwidth_kbps, packet_loss, now)

    def note_encoded(self, timestamp_ms: float, bits: int, video_format: VideoFormat) -> None:
        """Charge an encoded picture to the budget; H.264 holds its target by itself."""
        if video_format is VideoFormat.JPEG:
            self.budget.spend(timestamp_ms, bits, self.target_bps(video_format))

    def target_bps(self, video_format: VideoFormat) -> int | None:
        """Target bitrate of the encoder; None for JPEG at its configured quality, while nothing is
        known of the client's network.
        """
        is_free = video_format is VideoFormat.JPEG and not self.bitrate.adapted
        return None if is_free else self.bitrate.target_bps

    def affordable(
        self, offsets: Sequence[int], timestamps_ms: Sequence[float], video_format: VideoFormat
    ) -> list[int]:
        """Those of `offsets` that the target pays for, whose media times are `timestamps_ms`."""
        target_bps = self.target_bps(video_format)
        if video_format is not VideoFormat.JPEG or target_bps is None:
            return list(offsets)
        return [offsets[place] for place in self.budget.affordable(timestamps_ms, target_bps)]

    def _kept(self, due: DueFrames, fps: float, queue_fill: float) -> list[int]:
        offsets = [
            offset
            for offset in range(len(due.timestamps_ms))
            if is_kept(due.first + offset, due.fps, fps)
        ]
        offsets = kept_frames(offsets, congestion_of(queue_fill), due.since_keyframe)
        timestamps_ms = [due.timestamps_ms[offset] for offset in offsets]
        return self.affordable(offsets, timestamps_ms, due.format)
