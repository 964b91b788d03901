"""Every chunk of a live session is a trace down to the requests to the inference, and Triton is
told which.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from ws_client import connect, syllables

from orchestrator.core import tracing

sdk = pytest.importorskip(
    "opentelemetry.sdk.trace.export", reason="OpenTelemetry is not installed (the extra `otel`)"
)


@pytest.fixture
def spans() -> Iterator[Any]:
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    tracing.trace_with(sdk.SimpleSpanProcessor(exporter))
    yield exporter
    tracing.stop_tracing()


async def test_a_chunk_is_a_trace_of_its_stages(service_url: str, spans: Any) -> None:
    async with connect(service_url) as client:
        await client.speak(syllables(2.0), session="session-9", turnId="turn-042")
        await client.until("response_end")
    finished = spans.get_finished_spans()
    chunks = {span.context.span_id: span for span in finished if span.name == "chunk"}
    assert len(chunks) == 20
    assert {span.attributes["session.id"] for span in chunks.values()} == {"session-9"}
    assert {span.attributes["turn.id"] for span in chunks.values()} == {"turn-042"}
    assert all(span.parent is None for span in chunks.values())
    below = Counter(
        span.name for span in finished if span.parent is not None and span.parent.span_id in chunks
    )
    assert below["decode"] == 20
    assert below["generate"] == below["encode"] > 5
    assert below["send"] > 20
    generating = {span.context.span_id for span in finished if span.name == "generate"}
    inner = Counter(
        span.name
        for span in finished
        if span.parent is not None and span.parent.span_id in generating
    )
    assert inner["features"] > 5
    assert inner["infer"] > 5


def test_the_open_span_goes_to_triton_as_traceparent(spans: Any) -> None:
    with tracing.span("infer"):
        metadata = dict(tracing.request_metadata() or ())
    (span,) = spans.get_finished_spans()
    assert metadata["traceparent"].split("-")[1:3] == [
        f"{span.context.trace_id:032x}",
        f"{span.context.span_id:016x}",
    ]


def test_without_tracing_nothing_is_made() -> None:
    assert tracing.request_metadata() is None
    assert tracing.here() is None
    assert tracing.span("a") is tracing.span("b", model="tpsm") is tracing.span_below(None, "c")


def test_tracing_is_off_without_an_endpoint() -> None:
    assert not tracing.start_tracing({})
    assert tracing.request_metadata() is None
