"""Every address of a name in `triton_url` is a server: work is shared out equally, and servers come
and go without a restart.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer
from live_service import PATIENT_MS
from plain_triton import PlainTriton, plain_triton
from watched_server import ANSWER_S, until
from ws_client import connect, syllables

from orchestrator.core.config import ServiceConfig
from orchestrator.inference import Inference, NotCached
from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.triton import discovery, external_server
from orchestrator.inference.triton.inference import TritonInference
from orchestrator.server.app import build_app

HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
CLIENTS = 6
REQUESTS = 40
"""Of each client for each model."""

TRIES = 3
SESSIONS = 4
TURN_S = 4.0

MODELS = ("audio2motion", "tpsm")
WINDOW = {"mel": np.zeros((1, 88, 80), np.float32)}
TEST_CARD = {"motion": np.zeros((1, 11), np.float32), "face": np.zeros((1, 32), np.uint8)}


class Directory:
    """A resolver whose answer a test changes."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self.addresses = list(addresses)

    async def __call__(self, host: str) -> list[str]:
        assert host == "triton"
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return list(self.addresses)


@pytest.fixture(autouse=True)
def _quick_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    """And polls that bear a busy machine."""
    monkeypatch.setattr(discovery, "LOOKUP_INTERVAL_S", 0.1)
    monkeypatch.setattr(external_server, "TIMEOUT_S", 60.0)


@pytest.fixture(scope="module")
def ports() -> tuple[int, int, int]:
    """The same ones on every address, as containers have them."""
    with socket.socket() as first, socket.socket() as second, socket.socket() as third:
        for each in (first, second, third):
            each.bind(("", 0))
        grpc_port, metrics_port, http_port = (
            int(each.getsockname()[1]) for each in (first, second, third)
        )
        return grpc_port, metrics_port, http_port


@pytest.fixture(scope="module")
def served(make_repository: Callable[[], Path]) -> Path:
    return make_repository()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tritons(served: Path, ports: tuple[int, int, int]) -> AsyncIterator[list[PlainTriton]]:
    async with AsyncExitStack() as stack:
        yield await asyncio.gather(
            *(stack.enter_async_context(plain_triton(served, host, ports)) for host in HOSTS)
        )


@asynccontextmanager
async def asking(served: Path, name: str, directory: Directory) -> AsyncIterator[TritonInference]:
    async with TritonInference([name], read_repository(served), resolve=directory) as inference:
        yield inference


async def work(inference: TritonInference) -> None:
    """A client's requests, one after another, of two models in turns as a session makes them."""
    for _ in range(REQUESTS):
        await inference.infer("audio2motion", WINDOW, deadline=time.monotonic() + ANSWER_S)
        await inference.infer("tpsm", TEST_CARD, deadline=time.monotonic() + ANSWER_S)


async def load(inference: TritonInference) -> None:
    await asyncio.gather(*(work(inference) for _ in range(CLIENTS)))


async def shares_of_a_load(
    inference: TritonInference, tritons: Sequence[PlainTriton]
) -> np.ndarray:
    """Requests that each server answered, by model and server; one that the machine stops for a
    while gets fewer.
    """
    before = [[await each.successes(model) for each in tritons] for model in MODELS]
    await load(inference)
    return (
        np.array([[await each.successes(model) for each in tritons] for model in MODELS]) - before
    )


async def test_every_server_of_a_name_gets_an_equal_share_of_each_models_requests(
    tritons: list[PlainTriton], served: Path, ports: tuple[int, int, int]
) -> None:
    async with asking(served, f"triton:{ports[0]}", Directory(HOSTS)) as inference:
        assert len(inference.metrics_urls()) == len(HOSTS)
        await inference.infer_everywhere(
            "audio2motion", WINDOW, deadline=time.monotonic() + ANSWER_S
        )
        rounds = [await shares_of_a_load(inference, tritons) for _ in range(TRIES)]
    assert (rounds[0].sum(axis=1) == CLIENTS * REQUESTS).all()
    assert min(np.abs(shares / shares.mean() - 1.0).max() for shares in rounds) <= 0.1, rounds


async def test_servers_come_and_go_under_load_and_no_request_fails(
    tritons: list[PlainTriton], served: Path, ports: tuple[int, int, int]
) -> None:
    directory = Directory(HOSTS[:2])
    async with asking(served, f"triton:{ports[0]}", directory) as inference:
        before = [await each.successes("tpsm") for each in tritons]
        busy = asyncio.create_task(load(inference))
        directory.addresses = [HOSTS[2]]
        await until(lambda: [each.url for each in inference._servers] == [tritons[2].url])
        await busy
        await load(inference)
        taken = [await each.successes("tpsm") for each in tritons]
        assert taken[2] - before[2] >= CLIENTS * REQUESTS
        assert sum(taken) - sum(before) == 2 * CLIENTS * REQUESTS
        assert inference.metrics_urls() == [
            f"http://{HOSTS[2]}:{external_server.METRICS_PORT}/metrics"
        ]


async def test_a_server_that_is_killed_and_leaves_the_name_costs_no_request(
    served: Path, ports: tuple[int, int, int]
) -> None:
    hosts, others = ("127.0.0.5", "127.0.0.6"), (ports[0] + 1, ports[1] + 1, ports[2] + 1)
    async with (
        plain_triton(served, hosts[0], others) as doomed,
        plain_triton(served, hosts[1], others) as kept,
    ):
        directory = Directory(hosts)
        async with asking(served, f"triton:{others[0]}", directory) as inference:
            busy = asyncio.create_task(load(inference))
            await until(
                lambda: any(
                    link.busy
                    for server, link in inference._links._links.items()
                    if server.url == doomed.url
                )
            )
            doomed.process.kill()
            directory.addresses = [hosts[1]]
            await busy
            await until(lambda: [each.url for each in inference._servers] == [kept.url])


async def test_a_server_without_what_a_request_refers_to_gets_the_next_request(
    tritons: list[PlainTriton], served: Path, ports: tuple[int, int, int]
) -> None:
    """So that the maps of a face reach the server that lacks them, however many there are."""
    stranger = {"motion": TEST_CARD["motion"], "face": np.full((1, 32), 9, np.uint8)}
    async with asking(served, f"triton:{ports[0]}", Directory(HOSTS)) as inference:
        for _ in HOSTS:
            with pytest.raises(NotCached):
                await inference.infer("tpsm", stranger, deadline=time.monotonic() + ANSWER_S)
            unaware = inference._without_maps["tpsm"].url
            before = {each.url: await each.successes("tpsm") for each in tritons}
            await inference.infer("tpsm", TEST_CARD, deadline=time.monotonic() + ANSWER_S)
            after = {each.url: await each.successes("tpsm") for each in tritons}
            assert [url for url in after if after[url] > before[url]] == [unaware]


async def test_a_name_of_this_machine_is_asked_of_the_system(
    served: Path, ports: tuple[int, int, int]
) -> None:
    own = (ports[0] + 2, ports[1] + 2, ports[2] + 2)
    async with (
        plain_triton(served, "127.0.0.1", own) as server,
        TritonInference([f"localhost:{own[0]}"], read_repository(served)) as inference,
    ):
        assert [each.url for each in inference._servers] == [server.url]
        before = await server.successes("audio2motion")
        await inference.infer("audio2motion", WINDOW, deadline=time.monotonic() + ANSWER_S)
        assert await server.successes("audio2motion") == before + 1


async def test_speech_goes_on_while_servers_come_and_go(
    tritons: list[PlainTriton], served: Path, ports: tuple[int, int, int], tmp_path: Path
) -> None:
    directory = Directory(HOSTS[:2])
    config = ServiceConfig(
        storage=tmp_path,
        model_repository=served,
        triton_url=f"triton:{ports[0]}",
        chunk_deadline_ms=PATIENT_MS,
    )

    @asynccontextmanager
    async def by_name() -> AsyncIterator[Inference]:
        async with asking(served, config.triton_url, directory) as inference:
            yield inference

    before = [await each.successes("tpsm") for each in tritons]
    async with TestServer(build_app(config, by_name)) as application:
        url = str(application.make_url("")).rstrip("/")
        turns = [asyncio.create_task(turn(url, f"session-{number}")) for number in range(SESSIONS)]
        await until(lambda: are_asked(tritons[:2], before))
        directory.addresses = [HOSTS[2]]
        models = await asyncio.gather(*turns)
    assert models == [{"tpsm"}] * SESSIONS
    assert await tritons[2].successes("tpsm") > before[2]


async def turn(url: str, session: str) -> set[str]:
    """The models that drew a turn without a hole."""
    async with connect(url) as client:
        speaking = asyncio.create_task(
            client.speak(syllables(TURN_S), session=session, real_time=True)
        )
        await client.until("response_end")
        await speaking
    frames = client.frames(session=session)
    assert [frame["sequenceNumber"] for frame in frames] == list(range(round(TURN_S * 20)))
    return {frame["model"] for frame in frames}


async def are_asked(servers: Sequence[PlainTriton], before: Sequence[int]) -> bool:
    """Each since its count."""
    return all(
        [
            await server.successes_now("tpsm") > then
            for server, then in zip(servers, before, strict=False)
        ]
    )
