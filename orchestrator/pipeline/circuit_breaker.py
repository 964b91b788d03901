"""Latency statistics and circuit breakers of the models."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from orchestrator.core.backoff import Backoff
from orchestrator.core.circuit_breaker import CircuitBreaker
from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.core.types import LipSyncModel

HISTORY: Final = 256
"""Batches remembered per model."""

FIRST_PROBE_S: Final = 0.25
"""Time to the first probe of a failed model. It doubles with each failed probe, up to
`LONGEST_PROBE_S`.
"""

LONGEST_PROBE_S: Final = 1.0

STEADY_S: Final = 10.0
"""A model that fails again within this time of its recovery is flapping: its circuit stays open for
twice as long as before, up to `LONGEST_FLAP_S`.
"""

LONGEST_FLAP_S: Final = 4.0

SHARED_FAILURES: Final = frozenset(
    {LipSyncErrorCode.TIMEOUT, LipSyncErrorCode.MODEL_LOAD_FAILED, LipSyncErrorCode.GPU_UNAVAILABLE}
)
"""Failures of the model itself, which open its circuit for all sessions. Other failures may come
from one session's face or audio.
"""


def _breaker() -> CircuitBreaker:
    return CircuitBreaker(
        Backoff(FIRST_PROBE_S, LONGEST_FLAP_S),
        Backoff(FIRST_PROBE_S, LONGEST_PROBE_S),
        steady_s=STEADY_S,
    )


@dataclass
class _Record:
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    loads: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    successes: deque[bool] = field(default_factory=lambda: deque(maxlen=HISTORY))
    frames: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=HISTORY))
    breaker: CircuitBreaker = field(default_factory=_breaker)
    opened_by: LipSyncErrorCode | None = None
    updated_s: float | None = None
    queue_ms: float | None = None
    gpu_utilization: float | None = None
    memory_mb: float | None = None


@dataclass(frozen=True, slots=True)
class ModelPerformance:
    """Figures of one model's recent batches."""

    model: LipSyncModel
    average_latency_ms: float
    p95_latency_ms: float
    p99_latency_ms: float
    p95_load: float
    """95th percentile of a batch's latency over its duration; above 1 a model falls behind."""
    success_rate: float
    frames_per_second: float
    is_open: bool
    """True while the circuit is open: the model failed and has not answered a probe since."""
    drawn: int
    """Number of batches behind the latencies; with 0 they are meaningless."""
    updated_s: float | None
    """Time of the last batch, successful or not, on the caller's clock; None before the first."""
    quality_score: float = 0.0
    """Declared quality times the share of successful batches, 0..1."""
    queue_ms: float | None = None
    """Mean wait of a batch in Triton's queues by its last report; None without requests since."""
    gpu_utilization: float | None = None
    """Utilization 0..1 of the model's GPUs, other models included; None without a GPU."""
    memory_usage_mb: float | None = None
    """Memory of the model's backend processes, or else in use on its GPUs, other models
    included.
    """


class PerformanceTracker:
    """Records results, and holds a circuit breaker per model. No clock is read: `now` is monotonic
    seconds.
    """

    def __init__(self, qualities: Mapping[LipSyncModel, float] | None = None) -> None:
        """`qualities` are those that the models declare, 0..1."""
        self._qualities = dict(qualities or {})
        self._records: dict[LipSyncModel, _Record] = {}

    def record_success(
        self, model: LipSyncModel, latency_ms: float, frames: int, now: float, *, lasting_ms: float
    ) -> None:
        """Record a successful batch whose frames last `lasting_ms`."""
        record = self._record(model)
        record.latencies_ms.append(latency_ms)
        record.loads.append(latency_ms / lasting_ms)
        record.successes.append(True)
        record.frames.append((now, frames))
        record.updated_s = now

    def record_failure(self, model: LipSyncModel, code: LipSyncErrorCode, now: float) -> None:
        """Record a failed batch. A failure of the model itself opens its circuit at once. A face
        that it cannot use does not count.
        """
        if code is LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE:
            return
        record = self._record(model)
        record.successes.append(False)
        record.updated_s = now
        if code in SHARED_FAILURES and not record.breaker.is_open:
            record.breaker.open(now)
            record.opened_by = code

    def note_resources(
        self,
        model: LipSyncModel,
        *,
        queue_ms: float | None,
        gpu_utilization: float | None,
        memory_mb: float | None,
    ) -> None:
        """Record what the servers reported of the model since the last report."""
        record = self._record(model)
        record.queue_ms, record.gpu_utilization, record.memory_mb = (
            queue_ms,
            gpu_utilization,
            memory_mb,
        )

    def is_closed(self, model: LipSyncModel) -> bool:
        """True if sessions may use the model."""
        return not self._record(model).breaker.is_open

    def opened_by(self, model: LipSyncModel) -> LipSyncErrorCode | None:
        """Error that opened the model's circuit; None while it is closed."""
        return None if self.is_closed(model) else self._record(model).opened_by

    def due_for_probe(self, now: float) -> list[LipSyncModel]:
        """Models whose circuit is open and whose cool-down is over."""
        return [model for model, record in self._records.items() if record.breaker.is_due(now)]

    def record_probe(
        self, model: LipSyncModel, answered: bool, now: float, *, longest_s: float = LONGEST_PROBE_S
    ) -> None:
        """Close the circuit, or wait twice as long for the next probe, at most `longest_s`."""
        breaker = self._record(model).breaker
        if answered:
            breaker.close(now)
        else:
            breaker.probe_failed(now, max_s=longest_s)

    def performance(self, model: LipSyncModel) -> ModelPerformance:
        """Figures over the last `HISTORY` batches."""
        record = self._record(model)
        latencies = np.array(record.latencies_ms or [0.0])
        success_rate = sum(record.successes) / len(record.successes) if record.successes else 1.0
        return ModelPerformance(
            model=model,
            average_latency_ms=float(latencies.mean()),
            p95_latency_ms=float(np.percentile(latencies, 95)),
            p99_latency_ms=float(np.percentile(latencies, 99)),
            p95_load=float(np.percentile(record.loads or [0.0], 95)),
            success_rate=success_rate,
            frames_per_second=_rate(record.frames),
            is_open=record.breaker.is_open,
            drawn=len(record.latencies_ms),
            updated_s=record.updated_s,
            quality_score=self._qualities.get(model, 0.0) * success_rate,
            queue_ms=record.queue_ms,
            gpu_utilization=record.gpu_utilization,
            memory_usage_mb=record.memory_mb,
        )

    def _record(self, model: LipSyncModel) -> _Record:
        return self._records.setdefault(model, _Record())


def _rate(frames: deque[tuple[float, int]]) -> float:
    if len(frames) < 2 or frames[-1][0] <= frames[0][0]:
        return 0.0
    return sum(count for _, count in list(frames)[1:]) / (frames[-1][0] - frames[0][0])
