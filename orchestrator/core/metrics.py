"""Every Prometheus metric of the orchestrator; names carry units, labels are few. docs/metrics.md
says what each is for.
"""

from __future__ import annotations

import time
from types import TracebackType

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.tracing import span

LATENCY_BUCKETS_S = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.03,
    0.05,
    0.075,
    0.1,
    0.15,
    0.25,
    0.5,
    1.0,
    2.5,
)
STAGE_BUCKETS_S = (0.0001, 0.0002, 0.0005, *LATENCY_BUCKETS_S)
OFFSET_BUCKETS_MS = (-100, -45, -30, -15, -5, 5, 15, 30, 45, 100)
BITRATE_BUCKETS_BPS = (100_000, 200_000, 300_000, 500_000, 750_000, 1_000_000, 1_500_000, 2_000_000)
FILL_BUCKETS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 0.9, 1.0)


class _Stage:
    """A context manager by hand: one from a generator costs several microseconds more, six times a
    frame.
    """

    __slots__ = ("_began", "_metrics", "_model", "_name", "_span")

    def __init__(self, metrics: Metrics, name: str, model: str) -> None:
        self._metrics, self._name, self._model = metrics, name, model

    def __enter__(self) -> None:
        self._span = span(self._name, model=self._model)
        self._span.__enter__()
        self._began = time.perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._metrics.observe_stage(self._name, self._model, time.perf_counter() - self._began)
        self._span.__exit__(kind, error, trace)


class Metrics:
    """One registry an application, so that two applications in one process do not share counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._frames()
        self._stages()
        self._models()
        self._sessions()
        self._triton()

    def _frames(self) -> None:
        self.frames_total = self._counter("lipsync_frames_total", "Frames sent", "model", "format")
        self.cached_frames_total = self._counter(
            "lipsync_cached_frames_total", "Frames that had been drawn before for the same sound"
        )
        self.frames_dropped_total = self._counter(
            "lipsync_frames_dropped_total",
            "Frames left out: `congestion` for a slow client, `interruption` with the turn's end",
            "reason",
        )
        self.buffer_underruns_total = self._counter(
            "lipsync_buffer_underruns_total",
            "Frames that left more than their own length after they could have",
        )
        self.buffered_frames = self._gauge(
            "lipsync_buffered_frames", "Coded frames that wait for their clients"
        )
        self.audio_lost_seconds_total = self._counter(
            "lipsync_audio_lost_seconds_total", "Audio that overflowed an inbox"
        )
        self.frame_latency_seconds = self._histogram(
            "lipsync_frame_latency_seconds",
            "From the last audio sample of a frame's look-ahead to the frame's leaving",
            LATENCY_BUCKETS_S,
        )
        self.first_frame_seconds = self._histogram(
            "lipsync_first_frame_seconds",
            "From a turn's first chunk to its first frame",
            LATENCY_BUCKETS_S,
        )
        self.av_offset_ms = self._histogram(
            "lipsync_av_offset_ms",
            "Offset that clients measured; positive: the picture is ahead",
            OFFSET_BUCKETS_MS,
        )
        self.bitrate_bps = self._histogram(
            "lipsync_bitrate_bps", "Target bitrate after a client's report", BITRATE_BUCKETS_BPS
        )

    def _stages(self) -> None:
        self.stage_seconds = self._histogram(
            "lipsync_stage_seconds", "Wall time of a stage", STAGE_BUCKETS_S, "stage", "model"
        )
        self.queue_fill = self._histogram(
            "lipsync_queue_fill",
            "Load over capacity of a session's queues when something is put there",
            FILL_BUCKETS,
            "queue",
        )

    def _models(self) -> None:
        self.fallbacks_total = self._counter(
            "lipsync_fallbacks_total",
            "Batches that another model had to draw",
            "from_model",
            "to_model",
            "code",
        )
        self.face_preparations_total = self._counter(
            "lipsync_face_preparations_total",
            "Faces prepared for models whose networks have to see them first; the result is "
            "`prepared` or an error code",
            "model",
            "result",
        )
        self.model_available = self._gauge(
            "lipsync_model_available", "1 when a model may be used", "model"
        )

    def _sessions(self) -> None:
        self.sessions = self._gauge("lipsync_sessions", "Open sessions")
        self.waiting_sessions = self._gauge(
            "lipsync_waiting_sessions", "Sessions whose connection was lost"
        )
        self.resumptions_total = self._counter(
            "lipsync_resumptions_total", "Sessions that went on over a new connection"
        )
        self.speaking_sessions = self._gauge(
            "lipsync_speaking_sessions", "Sessions with frames to draw"
        )
        self.capacity_faces = self._gauge(
            "lipsync_capacity_faces",
            "Faces that may speak at once, as measured; NaN where nobody measures",
        )
        self.session_slots = self._gauge(
            "lipsync_session_slots", "Sessions that the configuration admits"
        )
        self.draining = self._gauge(
            "lipsync_draining", "1 while the instance shuts down: nothing new begins, turns end"
        )
        self.errors_total = self._counter(
            "lipsync_errors_total", "Errors told to clients", "code", "reason"
        )
        for (
            code
        ) in LipSyncErrorCode:  # a series that begins with 1 has no increase for Prometheus' rate()
            self.errors_total.labels(code.value, "")

    def _triton(self) -> None:
        self.triton_batch_size = self._gauge(
            "lipsync_triton_batch_size",
            "Mean items of an execution since the last look at Triton",
            "model",
        )
        self.triton_queue_seconds = self._gauge(
            "lipsync_triton_queue_seconds",
            "Mean wait of a request in Triton's queue since the last look",
            "model",
        )
        self.gpu_utilization_ratio = self._gauge(
            "lipsync_gpu_utilization_ratio", "Share of time that Triton's GPUs were busy"
        )
        self.gpu_memory_used_bytes = self._gauge(
            "lipsync_gpu_memory_used_bytes", "Memory in use on Triton's GPUs"
        )
        self.gpu_memory_total_bytes = self._gauge(
            "lipsync_gpu_memory_total_bytes", "Memory of Triton's GPUs"
        )
        self.inbox_fill, self.outbox_fill = (
            self.queue_fill.labels("inbox"),
            self.queue_fill.labels("outbox"),
        )
        self._stage_children: dict[tuple[str, str], Histogram] = {}
        self._frame_children: dict[tuple[str, str], Counter] = {}

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def stage(self, name: str, model: str) -> _Stage:
        """Times what is done within and shows it in the trace; what fails is not counted."""
        return _Stage(self, name, model)

    def observe_stage(self, name: str, model: str, seconds: float) -> None:
        """One run of a stage. Every frame passes six of them, and looking a label up costs as much
        as counting.
        """
        child = self._stage_children.get((name, model))
        if child is None:
            child = self._stage_children[name, model] = self.stage_seconds.labels(name, model)
        child.observe(seconds)

    def count_error(self, error: LipSyncError) -> None:
        """Count one error sent to a client.

        `details.reason` tells the refusals of a draining instance from those for want of room.
        """
        self.errors_total.labels(error.code.value, error.details.get("reason", "")).inc()

    def count_frame(self, model: str, video_format: str) -> None:
        """One frame left."""
        child = self._frame_children.get((model, video_format))
        if child is None:
            child = self._frame_children[model, video_format] = self.frames_total.labels(
                model, video_format
            )
        child.inc()

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)
