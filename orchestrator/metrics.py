"""Every Prometheus metric of the orchestrator; names carry units, labels are few."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LATENCY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
OFFSET_BUCKETS_MS = (-100, -45, -30, -15, -5, 5, 15, 30, 45, 100)
BITRATE_BUCKETS_BPS = (100_000, 200_000, 300_000, 500_000, 750_000, 1_000_000, 1_500_000, 2_000_000)


class Metrics:
    """One registry an application, so that two applications in one process do not share counts."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self.stage_seconds = Histogram(
            "lipsync_stage_seconds",
            "Wall time of a stage for one batch of frames",
            ["stage", "model"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.frame_latency_seconds = Histogram(
            "lipsync_frame_latency_seconds",
            "From the last audio sample of a frame's look-ahead to the frame's leaving",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.first_frame_seconds = Histogram(
            "lipsync_first_frame_seconds", "From a turn's first chunk to its first frame", buckets=LATENCY_BUCKETS_S, registry=registry
        )
        self.frames_total = Counter("lipsync_frames_total", "Frames sent", ["model", "format"], registry=registry)
        self.cached_frames_total = Counter(
            "lipsync_cached_frames_total", "Frames that had been drawn before for the same sound", registry=registry
        )
        self.fallbacks_total = Counter(
            "lipsync_fallbacks_total", "Batches that another model had to draw", ["from_model", "to_model", "code"], registry=registry
        )
        self.face_preparations_total = Counter(
            "lipsync_face_preparations_total",
            "Faces prepared for models whose networks have to see them first; the result is `prepared` or an error code",
            ["model", "result"],
            registry=registry,
        )
        self.errors_total = Counter("lipsync_errors_total", "Errors told to clients", ["code"], registry=registry)
        self.sessions = Gauge("lipsync_sessions", "Open sessions", registry=registry)
        self.model_available = Gauge("lipsync_model_available", "1 when a model may be used", ["model"], registry=registry)
        self.av_offset_ms = Histogram(
            "lipsync_av_offset_ms",
            "Offset that clients measured; positive: the picture is ahead",
            buckets=OFFSET_BUCKETS_MS,
            registry=registry,
        )
        self.bitrate_bps = Histogram(
            "lipsync_bitrate_bps", "Target bitrate after a client's report", buckets=BITRATE_BUCKETS_BPS, registry=registry
        )

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)
