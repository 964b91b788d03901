"""Optional OpenTelemetry traces: a span for each chunk and its stages, joined with Triton's trace.

On where the extra `otel` is installed and `OTEL_EXPORTER_OTLP_ENDPOINT` is set. The SDK's other
variables apply too. Nothing is imported otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

logger = logging.getLogger(__name__)

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
SERVICE_NAME: Final = "lipsync"

_OFF: Final[AbstractContextManager[None]] = nullcontext()
_tracer: Any = None
_provider: Any = None


def start_tracing(environment: Mapping[str, str]) -> bool:
    """Send spans to the collector that the environment names; returns False where it names none.

    Logs a warning, and returns False, where OpenTelemetry is not installed.
    """
    if not environment.get(ENDPOINT):
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning(
            "%s is set, but OpenTelemetry is not installed: pip install 'lipsync-service[otel]'",
            ENDPOINT,
        )
        return False
    trace_with(BatchSpanProcessor(OTLPSpanExporter()))
    return True


def trace_with(processor: Any) -> None:
    """Pass every span from now on to an SDK span processor."""
    global _provider, _tracer
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    _provider = TracerProvider(resource=Resource.create({"service.name": SERVICE_NAME}))
    _provider.add_span_processor(processor)
    _tracer = _provider.get_tracer("orchestrator")


def stop_tracing() -> None:
    """Send the pending spans, and stop tracing."""
    global _provider, _tracer
    if _provider is not None:
        _provider.shutdown()
    _provider = _tracer = None


def span(name: str, **attributes: str | int | float) -> AbstractContextManager[Any]:
    """Open a span below the current one of this task."""
    if _tracer is None:
        return _OFF
    opened: AbstractContextManager[Any] = _tracer.start_as_current_span(name, attributes=attributes)
    return opened


def here() -> Any:
    """Return the context of the open span for `span_below`; None without tracing."""
    if _tracer is None:
        return None
    from opentelemetry import context

    return context.get_current()


def span_below(
    parent: Any, name: str, **attributes: str | int | float
) -> AbstractContextManager[Any]:
    """Open a span below `parent`, which `here` returned in another task."""
    if _tracer is None or parent is None:
        return _OFF
    opened: AbstractContextManager[Any] = _tracer.start_as_current_span(
        name, context=parent, attributes=attributes
    )
    return opened


def request_metadata() -> tuple[tuple[str, str], ...] | None:
    """Return the W3C `traceparent` of the open span as gRPC metadata; None without one.

    Triton's trace joins ours by it.
    """
    if _tracer is None:
        return None
    from opentelemetry.propagate import inject

    carrier: dict[str, str] = {}
    inject(carrier)
    return tuple(carrier.items()) or None
