"""Load of Triton servers from their metrics: queue waits, batch sizes, GPU use.

Triton counts since its start; the figures are differences between two reads. Names and units are
those of Triton's metrics page (`nv_inference_*` in microseconds and items, `nv_gpu_*` as shares and
bytes).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

COUNTERS: Final = {
    "nv_inference_request_success_total": "requests",
    "nv_inference_request_success": "requests",
    "nv_inference_request_failure_total": "failures",
    "nv_inference_request_failure": "failures",
    "nv_inference_count_total": "items",
    "nv_inference_count": "items",
    "nv_inference_exec_count_total": "executions",
    "nv_inference_exec_count": "executions",
    "nv_inference_queue_duration_us_total": "queue_us",
    "nv_inference_queue_duration_us": "queue_us",
}
"""Fields by counter; Triton writes counters without `_total`, which the parser may add."""


@dataclass(slots=True)
class Counts:
    """Counters of one model, since the server's start or over an interval."""

    requests: float = 0.0
    failures: float = 0.0
    items: float = 0.0
    executions: float = 0.0
    queue_us: float = 0.0

    def since(self, before: Counts) -> Counts:
        """The difference; all of it where a counter fell, since the server was restarted then."""
        if any(getattr(self, each.name) < getattr(before, each.name) for each in fields(Counts)):
            return self
        return Counts(
            *(getattr(self, each.name) - getattr(before, each.name) for each in fields(Counts))
        )


@dataclass(slots=True)
class Gpu:
    """One GPU of a server."""

    utilization: float | None = None
    """0..1."""
    used_bytes: float = 0.0
    total_bytes: float = 0.0


@dataclass(slots=True)
class ServerMetrics:
    """Metrics of one server at one time."""

    models: dict[str, Counts] = field(default_factory=dict)
    gpus: dict[str, Gpu] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """Load of one Triton model since the last read, over all servers."""

    queue_ms: float
    """Mean wait of a request before its execution began."""
    batch_size: float
    """Mean items of one execution."""
    requests: int
    failures: int


@dataclass(frozen=True, slots=True)
class TritonFigures:
    """One read of all servers."""

    models: Mapping[str, ModelLoad] = field(default_factory=dict)
    """Models that executed something since the last read."""
    gpu_utilization: float | None = None
    """0..1, the mean of all GPUs; None where no server reports one."""
    gpu_used_mb: float | None = None
    gpu_total_mb: float | None = None
    memory_mb: Mapping[str, float] = field(default_factory=dict)
    """Private memory of each model's backend processes, for an embedded server on this machine."""

    @property
    def has_gpu(self) -> bool:
        """True if any server reports a GPU."""
        return bool(self.gpu_total_mb)


def parse_metrics(text: str) -> ServerMetrics:
    """Parse the text exposition format; ValueError where it is another format."""
    metrics = ServerMetrics()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            counter = COUNTERS.get(sample.name)
            # one sample for each version, and for each reason of failure
            if counter is not None and "model" in sample.labels:
                counts = metrics.models.setdefault(sample.labels["model"], Counts())
                setattr(counts, counter, getattr(counts, counter) + sample.value)
            elif sample.name.startswith("nv_gpu_"):
                _note_gpu(
                    metrics.gpus.setdefault(sample.labels.get("gpu_uuid", ""), Gpu()),
                    sample.name,
                    sample.value,
                )
    return metrics


def _note_gpu(gpu: Gpu, name: str, value: float) -> None:
    if name == "nv_gpu_utilization":
        gpu.utilization = value
    elif name == "nv_gpu_memory_used_bytes":
        gpu.used_bytes = value
    elif name == "nv_gpu_memory_total_bytes":
        gpu.total_bytes = value


def figures_of(
    before: Mapping[str, ServerMetrics],
    now: Mapping[str, ServerMetrics],
    memory_mb: Mapping[str, float],
) -> TritonFigures:
    """Figures from two reads of several servers, each by its address."""
    spent: dict[str, list[Counts]] = {}
    for url, metrics in now.items():
        # nothing is known of the time before the first read
        earlier = before[url].models if url in before else metrics.models
        for model, counts in metrics.models.items():
            spent.setdefault(model, []).append(counts.since(earlier.get(model, Counts())))
    gpus = {
        uuid: gpu
        for metrics in now.values()
        for uuid, gpu in metrics.gpus.items()
        if gpu.total_bytes
    }
    shares = [gpu.utilization for gpu in gpus.values() if gpu.utilization is not None]
    return TritonFigures(
        models={model: load for model, each in spent.items() if (load := _load(each)) is not None},
        gpu_utilization=sum(shares) / len(shares) if shares else None,
        gpu_used_mb=_megabytes(gpu.used_bytes for gpu in gpus.values()) if gpus else None,
        gpu_total_mb=_megabytes(gpu.total_bytes for gpu in gpus.values()) if gpus else None,
        memory_mb=dict(memory_mb),
    )


def _megabytes(sizes: Iterable[float]) -> float:
    return sum(sizes) / 2**20


def _load(servers: Sequence[Counts]) -> ModelLoad | None:
    requests = sum(each.requests for each in servers)
    failures = sum(each.failures for each in servers)
    executions = sum(each.executions for each in servers)
    if not (requests or failures):
        return None
    return ModelLoad(
        queue_ms=sum(each.queue_us for each in servers) / max(requests, 1.0) / 1000.0,
        batch_size=sum(each.items for each in servers) / executions if executions else 0.0,
        requests=round(requests),
        failures=round(failures),
    )
