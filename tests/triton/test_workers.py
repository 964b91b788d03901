"""Two processes on one port: both serve, their metrics are one, and what happens to one leaves the other alone."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving import commands_below, serve, stubs_of, triton_of
from watched_server import until
from ws_client import WsClient, connect, syllables

TURN = syllables(1.0)


@dataclass
class Served:
    """A service of two workers."""

    url: str
    process: psutil.Process

    def workers(self) -> dict[int, psutil.Process]:
        """Living workers by process id."""
        commands = commands_below(self.process)
        return {child.pid: child for child, command in commands.items() if any("spawn_main" in part for part in command)}

    def worker_of(self, client: WsClient) -> int:
        """The process that has the other end of a client's connection."""
        port = client.socket.get_extra_info("sockname")[1]
        for pid, worker in self.workers().items():
            if any(each.raddr and each.raddr.port == port for each in worker.net_connections()):
                return pid
        raise LookupError(port)

    async def total(self, name: str) -> float:
        """A metric's samples together, asked over a new connection, which either worker may answer."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/metrics") as answer:
            text = await answer.text()
        return sum(each.value for family in text_string_to_metric_families(text) for each in family.samples if each.name == name)

    async def health(self) -> dict[str, Any]:
        """As one of the workers says it."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.url}/v1/health") as answer:
            found: dict[str, Any] = await answer.json()
        return found


MAX_SESSIONS = 101
"""An odd number, which two cannot share evenly."""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("LIPSYNC_MAX_CONCURRENT_SESSIONS", str(MAX_SESSIONS))
    with serve(tmp_path, "--workers", "2") as (url, process):
        yield Served(url, process)


@pytest.fixture
def measured(tmp_path: Path) -> Iterator[Served]:
    """It says what its machine carries."""
    with serve(tmp_path, "--workers", "2", settings={}) as (url, process):
        yield Served(url, process)


@asynccontextmanager
async def clients_on_both(served: Served) -> AsyncIterator[dict[int, list[WsClient]]]:
    """At least two connections to each worker, by its process id; the kernel deals them as it likes."""
    async with AsyncExitStack() as stack:
        found: dict[int, list[WsClient]] = {pid: [] for pid in served.workers()}
        while min(map(len, found.values())) < 2:
            client = await stack.enter_async_context(connect(served.url))
            found[served.worker_of(client)].append(client)
            assert sum(map(len, found.values())) < 40, "one worker gets no connections"
        yield found


async def speak(client: WsClient, session: str) -> int:
    """A turn; the frames that came."""
    before = len(client.frames(session=session))
    await client.speak(TURN, session=session)
    await client.until("response_end", sessionId=session)
    return len(client.frames(session=session)) - before


async def test_both_workers_speak_and_their_metrics_are_one(served: Served) -> None:
    async with clients_on_both(served) as clients:
        assert len(clients) == 2
        everyone = [client for of_one in clients.values() for client in of_one]
        frames = await asyncio.gather(*(speak(client, f"session-{number}") for number, client in enumerate(everyone)))
        assert frames == [20] * len(everyone)
        for _ in range(6):
            assert await served.total("lipsync_frames_total") == 20 * len(everyone)
            assert await served.total("lipsync_sessions") == len(everyone)
            health = await served.health()
            assert (health["activeSessions"], health["maxSessions"]) == (len(everyone), MAX_SESSIONS)


async def test_any_worker_says_how_many_faces_all_of_them_carry(measured: Served) -> None:
    served = measured
    said: list[Any] = [None]
    async with asyncio.timeout(240.0):
        while None in said:  # one worker measures after the other; which of them answers is the kernel's choice
            await asyncio.sleep(0.25)
            said = [(await served.health())["capacity"] for _ in range(12)]
    assert {capacity["speakingFaces"] for capacity in said} == {await served.total("lipsync_capacity_faces")}


async def test_a_worker_that_is_killed_loses_its_own_sessions_and_comes_back(served: Served) -> None:
    async with clients_on_both(served) as clients:
        for number, client in enumerate([each[0] for each in clients.values()]):
            assert await speak(client, f"session-{number}") == 20
        (doomed, _), (spared, (witness, *_)) = clients.items()
        server = triton_of(served.process).pid
        served.process.children()  # both workers are known by now
        psutil.Process(doomed).send_signal(signal.SIGKILL)
        assert await speak(witness, "session-1") == 20
        await until(lambda: len(workers := served.workers()) == 2 and all(map(listens, workers.values())))
        workers = served.workers()
        assert spared in workers
        assert doomed not in workers
        assert triton_of(served.process).pid == server
        assert await served.total("lipsync_sessions") == 1
        assert await served.total("lipsync_frames_total") == 60
    async with clients_on_both(served) as clients:
        assert [await speak(each[0], f"again-{pid}") for pid, each in clients.items()] == [20, 20]


async def test_a_server_whose_backend_dies_is_healed_for_all_workers(served: Served) -> None:
    async with clients_on_both(served) as clients:
        for stub in stubs_of(served.process, "tpsm"):
            with contextlib.suppress(psutil.NoSuchProcess):  # killed already, since another one was
                stub.kill()
        for pid, (client, *_) in clients.items():
            assert await speak(client, f"hurt-{pid}") == 20
        for pid, (client, *_) in clients.items():
            async with asyncio.timeout(240.0):
                while {frame["model"] for frame in client.frames(session=f"healed-{pid}")[-20:]} != {"tpsm"}:
                    await speak(client, f"healed-{pid}")


def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    with contextlib.suppress(AssertionError), serve(tmp_path, "--workers", "2") as (_, process):
        family = process.children(recursive=True)
        process.kill()
        _, alive = psutil.wait_procs(family, timeout=120.0)
        assert alive == []


def listens(worker: psutil.Process) -> bool:
    """Whether a new worker has its socket."""
    with contextlib.suppress(psutil.Error):
        return any(each.status == psutil.CONN_LISTEN for each in worker.net_connections())
    return False
