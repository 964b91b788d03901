"""Triton's metrics page becomes waits, batch sizes and GPU figures of an interval, over restarts
and several servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.inference.triton.metrics_poller import TritonWatch
from orchestrator.inference.triton.server_metrics import (
    ServerMetrics,
    TritonFigures,
    figures_of,
    parse_metrics,
)

GPU = """# HELP nv_gpu_utilization GPU utilization rate [0.0 - 1.0)
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{gpu_uuid="GPU-1"} 0.25
# TYPE nv_gpu_memory_total_bytes gauge
nv_gpu_memory_total_bytes{gpu_uuid="GPU-1"} 1073741824
# TYPE nv_gpu_memory_used_bytes gauge
nv_gpu_memory_used_bytes{gpu_uuid="GPU-1"} 536870912
"""


def page(requests: int, *, items: int, executions: int, queue_us: int, failures: int = 0) -> str:
    rows = {
        "request_success": requests,
        "count": items,
        "exec_count": executions,
        "queue_duration_us": queue_us,
    }
    text = "".join(
        f'# TYPE nv_inference_{name} counter\nnv_inference_{name}{{model="tpsm",version="1"}} {value}\n'
        for name, value in rows.items()
    )
    return text + (
        "# HELP nv_inference_request_failure Failures\n# TYPE nv_inference_request_failure "
        "counter\n"
        f'nv_inference_request_failure{{model="tpsm",reason="BACKEND",version="1"}} {failures}\n'
        'nv_inference_request_failure{model="tpsm",reason="OTHER",version="1"} 1\n'
    )


def figures(before: str | None, now: str) -> TritonFigures:
    metrics_by_url = {} if before is None else {"a": parse_metrics(before)}
    return figures_of(metrics_by_url, {"a": parse_metrics(now)}, {"tpsm": 80.0})


def test_an_interval_is_the_difference_of_two_looks() -> None:
    before = page(100, items=200, executions=100, queue_us=0)
    found = figures(before, page(140, items=280, executions=110, queue_us=40 * 2500, failures=3))
    load = found.models["tpsm"]
    assert (load.requests, load.failures) == (40, 3)
    assert load.queue_ms == pytest.approx(2.5)
    assert load.batch_size == pytest.approx(8.0)
    assert found.memory_mb == {"tpsm": 80.0}


def test_the_first_look_and_an_idle_interval_say_nothing() -> None:
    text = page(100, items=200, executions=100, queue_us=5)
    assert figures(None, text).models == {}
    assert figures(text, text).models == {}


def test_a_server_that_was_restarted_counts_from_nothing() -> None:
    found = figures(
        page(100, items=100, executions=100, queue_us=9),
        page(10, items=40, executions=10, queue_us=10_000),
    )
    assert found.models["tpsm"].requests == 10
    assert found.models["tpsm"].queue_ms == pytest.approx(1.0)


def test_several_servers_are_one() -> None:
    before, now = (
        parse_metrics(page(0, items=0, executions=0, queue_us=0)),
        parse_metrics(page(10, items=20, executions=10, queue_us=10_000)),
    )
    idle: ServerMetrics = before
    found = figures_of({"a": before, "b": idle, "c": before}, {"a": now, "b": idle, "c": now}, {})
    assert found.models["tpsm"].requests == 20
    assert found.models["tpsm"].queue_ms == pytest.approx(1.0)


def test_a_gpu_is_reported_with_its_memory_and_without_one_nothing_is() -> None:
    with_gpu = figures(None, GPU)
    assert (
        with_gpu.has_gpu,
        with_gpu.gpu_utilization,
        with_gpu.gpu_used_mb,
        with_gpu.gpu_total_mb,
    ) == (True, 0.25, 512.0, 1024.0)
    assert not figures(None, page(1, items=1, executions=1, queue_us=1)).has_gpu


class TwoServers:
    def __init__(self, urls: list[str]) -> None:
        self._urls = urls

    def metrics_urls(self) -> list[str]:
        return self._urls

    def memory_mb(self) -> dict[str, float]:
        return {}


@pytest.mark.parametrize(
    "answer",
    [
        lambda: web.Response(status=503),
        lambda: web.Response(text='nv_inference_count{model="tpsm" 1'),
        lambda: web.Response(body=b"\xff"),
    ],
)
async def test_a_server_that_answers_nonsense_costs_only_its_own_figures(
    answer: Callable[[], web.Response],
) -> None:
    app = web.Application()
    requests = iter([0, 40, 80])

    async def good(_: web.Request) -> web.Response:
        count = next(requests)
        return web.Response(text=page(count, items=2 * count, executions=count, queue_us=0))

    async def bad(_: web.Request) -> web.Response:
        return answer()

    app.add_routes([web.get("/good", good), web.get("/bad", bad)])
    told: list[TritonFigures] = []
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        watch = TritonWatch(
            TwoServers([str(server.make_url("/bad")), str(server.make_url("/good"))]),
            (),
            told.append,
        )
        await watch.look(http)
        await watch.look(http)
    assert [each.models["tpsm"].requests for each in told if each.models] == [40]


async def test_the_memory_of_all_servers_gpus_is_asked_beside_the_looks() -> None:
    app = web.Application()
    texts = {
        "first": GPU,
        "second": GPU.replace("GPU-1", "GPU-2"),
        "none": page(1, items=1, executions=1, queue_us=1),
    }

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=texts[request.match_info["name"]])

    app.add_routes([web.get("/{name}", answer)])
    async with TestServer(app) as server:
        urls = {name: str(server.make_url(f"/{name}")) for name in texts}
        both = TritonWatch(
            TwoServers([urls["first"], urls["second"], urls["none"]]), (), lambda _: None
        )
        assert await both.gpu_used_mb() == 1024.0
        assert (
            await TritonWatch(TwoServers([urls["none"]]), (), lambda _: None).gpu_used_mb() is None
        )


def in_pieces(text: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """A page that arrives as networks bring it: each piece is read before the next one is sent."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for start in range(0, len(text), 1448):
            await response.write(text[start : start + 1448].encode())
            for _ in range(10):
                await asyncio.sleep(0)  # the reader's turn
        return response

    return answer


async def test_a_page_that_arrives_in_pieces_is_read_to_its_end() -> None:
    names = [f"model_{number:03d}" for number in range(100)]
    counts = iter([10, 50])

    async def answer(request: web.Request) -> web.StreamResponse:
        count = next(counts)
        rows = "".join(
            f'nv_inference_request_success{{model="{name}",version="1"}} {count}\n'
            for name in names
        )
        return await in_pieces(f"# TYPE nv_inference_request_success counter\n{rows}{GPU}")(request)

    app = web.Application()
    app.add_routes([web.get("/metrics", answer)])
    told: list[TritonFigures] = []
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        watch = TritonWatch(TwoServers([str(server.make_url("/metrics"))]), (), told.append)
        await watch.look(http)
        await watch.look(http)
    assert {name: load.requests for name, load in told[-1].models.items()} == dict.fromkeys(
        names, 40
    )
    assert told[-1].gpu_used_mb == 512.0


async def test_a_page_without_an_end_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("orchestrator.inference.triton.metrics_poller.MAX_PAGE_BYTES", 10_000)
    app = web.Application()
    app.add_routes([web.get("/metrics", in_pieces("# nothing but a comment\n" * 1000))])
    told: list[TritonFigures] = []
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        with caplog.at_level("INFO"):
            await TritonWatch(TwoServers([str(server.make_url("/metrics"))]), (), told.append).look(
                http
            )
    assert told == []
    assert "the page is longer than 10000 bytes" in caplog.text


async def test_nobody_there_is_no_error() -> None:
    told: list[TritonFigures] = []
    watch = TritonWatch(TwoServers([]), ("http://127.0.0.1:9/metrics",), told.append)
    running = asyncio.create_task(watch.run(0.01))
    await asyncio.wait([running], timeout=0.1)
    assert not running.done()
    running.cancel()
    await asyncio.wait([running])
    assert told == []


async def test_every_address_of_a_name_publishes_metrics_of_its_own() -> None:
    addresses, hosts = ["127.0.0.1", "127.0.0.2"], []

    async def answer(request: web.Request) -> web.Response:
        text = page(10 * (len(hosts) // 2), items=1, executions=1, queue_us=0)
        hosts.append(request.headers["Host"])
        return web.Response(text=text)

    async def resolve(host: str) -> list[str]:
        assert host == "triton"
        return addresses

    app = web.Application()
    app.add_routes([web.get("/metrics", answer)])
    told: list[TritonFigures] = []
    async with TestServer(app, host="0.0.0.0") as server, aiohttp.ClientSession() as http:
        watch = TritonWatch(
            TwoServers([]), (f"http://triton:{server.port}/metrics",), told.append, resolve
        )
        for _ in range(3):
            await watch.look(http)
        assert [each.models["tpsm"].requests for each in told if each.models] == [20, 20]
        assert set(hosts) == {f"triton:{server.port}"}
        addresses.pop()
        await watch.look(http)
        assert len(watch._before) == 1
