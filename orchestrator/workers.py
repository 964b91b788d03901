"""Several processes on one port, for more cores: the parent runs the embedded Triton and keeps alive the workers, each a whole service.

The kernel spreads connections over the workers. A session lives in one of them and ends with it; a client that lost its connection
and comes back to another worker is told how many there are, and calls again until it meets the one that has its session. The pipe
between parent and worker carries what the supervisor knows of Triton one way, failures and "I listen" the other; its end is the end
of the worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any, Final

from orchestrator.config import ConfigError, ServiceConfig
from orchestrator.errors import LipSyncError, LipSyncErrorCode
from orchestrator.inference import ContractError, Inference
from orchestrator.inference.lease import Lease, sweep_dead_runs
from orchestrator.logs import configure_logging
from orchestrator.metrics import SHARED_FOLDER
from orchestrator.tracing import start_tracing, stop_tracing

logger = logging.getLogger(__name__)

STATE_S: Final = 0.1
"""Between two looks at the supervisor's state; a change is told at once then."""

START_S: Final = 60.0
"""A worker that does not listen by then never will."""

STOP_S: Final = 8.0
"""A worker that was asked to stop and has not by then is killed."""

STABLE_S: Final = 5.0
"""A worker that lived this long was sound: it is started again at once."""

BACK_OFF_S: Final = (0.0, 0.5, 1.0, 2.0, 5.0)
"""Waits before the first, second ... start in a row; the last one repeats."""

LISTENING: Final = "listening"


class WorkerPool:
    """The parent's side: owns the processes. An async context manager, entered once all of them listen, left when all are gone."""

    def __init__(self, config: ServiceConfig, state: Callable[[], Any] | None, tell: Callable[[Any], None]) -> None:
        """`state` says what is to be known of the shared server, None where the workers find theirs by the configuration;
        `tell` takes failures that they met."""
        self._config = config
        self._state = state
        self._tell = tell
        self._told: Any = None
        self._workers: dict[int, _Worker] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._first: list[asyncio.Future[None]] = []

    @property
    def pids(self) -> dict[int, int]:
        """Process ids by the number of the worker, of those that live."""
        return {index: worker.pid for index, worker in self._workers.items()}

    async def __aenter__(self) -> WorkerPool:
        loop = asyncio.get_running_loop()
        self._first = [loop.create_future() for _ in range(self._config.workers)]
        self._tasks = [asyncio.create_task(self._keep(index), name=f"keep worker {index}") for index in range(self._config.workers)]
        if self._state is not None:
            self._tasks.append(asyncio.create_task(self._publish(), name="tell workers of triton"))
        try:
            async with asyncio.timeout(START_S):
                await asyncio.gather(*self._first)
        except BaseException as error:
            await self._stop()
            if isinstance(error, TimeoutError):
                message = f"the workers did not listen after {START_S:g} s"
                raise LipSyncError(LipSyncErrorCode.MODEL_LOAD_FAILED, message, recoverable=False) from None
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for future in self._first:
            future.cancel()

    async def _keep(self, index: int) -> None:
        """Start a worker, and another one whenever it ends, until this task is cancelled."""
        loop, failures = asyncio.get_running_loop(), 0
        while True:
            began_s = loop.time()
            worker = self._workers[index] = _Worker(self._config, index, self._heard)
            try:
                if self._told is not None:
                    worker.say(self._told)
                await worker.ended.wait()
            finally:
                del self._workers[index]
                await worker.stop()
                _forget_gauges(worker.pid)
            if not self._first[index].done():
                message = f"worker {index} ended with status {worker.status} before it listened; its log says why"
                self._first[index].set_exception(LipSyncError(LipSyncErrorCode.MODEL_LOAD_FAILED, message, recoverable=False))
                return
            failures = 1 if loop.time() - began_s > STABLE_S else failures + 1
            logger.warning("worker %d (process %d) ended with status %s; starting another one", index, worker.pid, worker.status)
            await asyncio.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S)) - 1])

    def _heard(self, index: int, message: Any) -> None:
        if message == LISTENING:
            if not self._first[index].done():
                self._first[index].set_result(None)
            else:
                logger.info("worker %d is back", index)
        else:
            self._tell(message)

    async def _publish(self) -> None:
        assert self._state is not None
        while True:
            state = self._state()
            if state != self._told:
                self._told = state
                for worker in list(self._workers.values()):
                    worker.say(state)
            await asyncio.sleep(STATE_S)


class _Worker:
    """One process and the pipe to it."""

    def __init__(self, config: ServiceConfig, index: int, heard: Callable[[int, Any], None]) -> None:
        spawning = multiprocessing.get_context("spawn")
        self._pipe, theirs = spawning.Pipe()
        self._index, self._heard = index, heard
        # Pickled here and loaded there: models of one's own have to be imported before they can be named.
        arguments = (pickle.dumps(config), index, theirs)
        self._process: SpawnProcess = spawning.Process(target=work, args=arguments, name=f"lipsync worker {index}")
        self._process.start()
        theirs.close()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        self.ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._process.sentinel, self.ended.set)
        loop.add_reader(self._pipe.fileno(), self._read)

    @property
    def status(self) -> int | None:
        """Exit status; negative: the signal that ended it."""
        return self._process.exitcode

    def say(self, message: Any) -> None:
        """Send; to one that is just ending it is lost."""
        with contextlib.suppress(OSError):
            self._pipe.send(message)

    def _read(self) -> None:
        try:
            while self._pipe.poll():
                self._heard(self._index, self._pipe.recv())
        except (EOFError, OSError):
            asyncio.get_running_loop().remove_reader(self._pipe.fileno())

    async def stop(self) -> None:
        """Ask it to end, then make it."""
        loop = asyncio.get_running_loop()
        if not self.ended.is_set():
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_S):
                    await self.ended.wait()
            except TimeoutError:
                self._process.kill()
        loop.remove_reader(self._pipe.fileno())
        loop.remove_reader(self._process.sentinel)
        await asyncio.to_thread(self._process.join)
        self._pipe.close()


@contextmanager
def shared_metrics() -> Iterator[None]:
    """A folder in which the workers keep their counts; enter it before the client library is imported.

    Gone afterwards; what a killed service left is removed by the next one's start.
    """
    sweep_dead_runs()
    lease = Lease()
    os.environ[SHARED_FOLDER] = str(lease.folder())
    try:
        yield
    finally:
        del os.environ[SHARED_FOLDER]
        lease.release()


def _forget_gauges(pid: int) -> None:
    """What a process counted stays true; what it held at its end is gone."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(pid, os.environ[SHARED_FOLDER])  # type: ignore[no-untyped-call]


@contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Holds the port that the workers will listen on together, a free one for 0. Raises OSError where another program has it."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    if port:  # another service of this kind would share its port gladly
        with socket.socket(family, kind, protocol) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(address)
    with socket.socket(family, kind, protocol) as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
        yield held.getsockname()[1]


def work(pickled: bytes, index: int, pipe: Connection) -> None:
    """A worker's whole life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C goes to all; the parent asks the workers to end
    import orchestrator.models  # noqa: F401 - models of one's own have their names from their adapters

    config: ServiceConfig = pickle.loads(pickled)
    configure_logging(config.log_format)
    start_tracing(os.environ)
    try:
        asyncio.run(_work(config, index, pipe))
    except (ConfigError, LipSyncError, ContractError, OSError) as error:
        logger.error("worker %d cannot serve: %s", index, error)
        raise SystemExit(1) from None
    finally:
        stop_tracing()


async def _work(config: ServiceConfig, index: int, pipe: Connection) -> None:
    from orchestrator.app import serving
    from orchestrator.http_context import Share
    from orchestrator.inference.shared import Failure, SharedServer

    stopped, told, loop = asyncio.Event(), asyncio.Event(), asyncio.get_running_loop()

    def tell(failure: Failure) -> None:
        with contextlib.suppress(OSError):  # the parent is gone, and so will this process be
            pipe.send(failure)

    server = SharedServer(tell)

    def read() -> None:
        try:
            while pipe.poll():
                server.state = pipe.recv()
                told.set()
        except (EOFError, OSError):
            loop.remove_reader(pipe.fileno())
            told.set()
            stopped.set()

    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    loop.add_reader(pipe.fileno(), read)
    if not config.triton_urls:
        await told.wait()
    async with serving(config, _opener(config, server), Share(index, config.workers)):
        pipe.send(LISTENING)
        await stopped.wait()


def _opener(config: ServiceConfig, server: Any) -> Any:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Inference]:
        from orchestrator.inference.repository import read_repository
        from orchestrator.inference.triton import TritonInference

        repository = read_repository(config.model_repository)
        async with TritonInference(config.triton_urls or [server], repository) as inference:
            yield inference

    return opened
