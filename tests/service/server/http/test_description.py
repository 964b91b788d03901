"""The OpenAPI document tells the truth: every route is in it, and whatever is sent, the answer is
one that it describes.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import schemathesis
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from orchestrator.core.config import ServiceConfig
from orchestrator.server.app import build_app
from orchestrator.server.http.openapi import document
from orchestrator.server.http.routes import ROUTES

CHECKS = [
    not_a_server_error,
    allow_header_conformance,
    status_code_conformance,
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
EXAMPLES = 40
"""Random requests for each operation, on top of one for each corner of its parameters and body."""

schema = schemathesis.openapi.from_dict(document(ROUTES))


@contextmanager
def _serving(storage: Path) -> Iterator[str]:
    """A service on a loop of its own, since the requests below are blocking."""
    loop, config = (
        asyncio.new_event_loop(),
        ServiceConfig(storage=storage, chunk_deadline_ms=60_000, capacity_probe=False),
    )

    server = TestServer(build_app(config))
    thread = threading.Thread(target=loop.run_forever, name="service")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start_server(), loop).result(60.0)
        yield str(server.make_url("")).rstrip("/")
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(60.0)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def described_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with _serving(tmp_path_factory.mktemp("described")) as url:
        yield url


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_one_that_the_document_describes(
    case: schemathesis.Case, described_url: str
) -> None:
    case.call_and_validate(base_url=described_url, checks=CHECKS, timeout=120.0)


def _templates(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


async def test_every_route_is_described_and_nothing_else(tmp_path: Path) -> None:
    config = ServiceConfig(storage=tmp_path)

    routes = build_app(config).router.routes()
    served = {
        (_templates(route.resource.canonical), route.method.lower())
        for route in routes
        if route.resource is not None and route.method != "HEAD"
    }
    described = {
        (_templates(path), method)
        for path, item in document(ROUTES)["paths"].items()
        for method in item
    }
    assert served == described
