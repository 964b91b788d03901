"""OpenTelemetry as an option: a span for each chunk and its stages, down to Triton's own trace;
nothing at all without it.

It is on where the extra `otel` is installed and `OTEL_EXPORTER_OTLP_ENDPOINT` is set; the SDK's
other variables count too.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

LOG = logging.getLogger(__name__)

ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
SERVICE_NAME: Final = "lipsync"

_OFF: Final[AbstractContextManager[None]] = nullcontext()
_tracer: Any = None
_provider: Any = None


def start_tracing(environment: Mapping[str, str]) -> bool:
    """Send spans to the collector that the environment names; False, and once a warning, where that
    cannot be.
    """
    if not environment.get(ENDPOINT):
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        LOG.warning(
            "%s is set, but OpenTelemetry is not installed: pip install 'lipsync-service[otel]'",
            ENDPOINT,
        )
        return False
    trace_with(BatchSpanProcessor(OTLPSpanExporter()))
    return True


def trace_with(processor: Any) -> None:
    """Hand every span from here on to an SDK span processor."""
    global _provider, _tracer
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    _provider = TracerProvider(resource=Resource.create({"service.name": SERVICE_NAME}))
    _provider.add_span_processor(processor)
    _tracer = _provider.get_tracer("orchestrator")


def stop_tracing() -> None:
    """Send what waits and trace no more."""
    global _provider, _tracer
    if _provider is not None:
        _provider.shutdown()
    _provider = _tracer = None


def span(name: str, **attributes: str | int | float) -> AbstractContextManager[Any]:
    """A span below the one that is open in this task."""
    if _tracer is None:
        return _OFF
    opened: AbstractContextManager[Any] = _tracer.start_as_current_span(name, attributes=attributes)
    return opened


def here() -> Any:
    """The open span, for another task to go on below it; None without tracing."""
    if _tracer is None:
        return None
    from opentelemetry import context

    return context.get_current()


def span_below(
    parent: Any, name: str, **attributes: str | int | float
) -> AbstractContextManager[Any]:
    """A span below what `here` gave in another task."""
    if _tracer is None or parent is None:
        return _OFF
    opened: AbstractContextManager[Any] = _tracer.start_as_current_span(
        name, context=parent, attributes=attributes
    )
    return opened


def request_metadata() -> tuple[tuple[str, str], ...] | None:
    """The W3C `traceparent` of the open span as gRPC metadata, by which Triton's trace joins ours;
    None without one.
    """
    if _tracer is None:
        return None
    from opentelemetry.propagate import inject

    carrier: dict[str, str] = {}
    inject(carrier)
    return tuple(carrier.items()) or None
