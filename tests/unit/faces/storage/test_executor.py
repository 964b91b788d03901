"""Calls of the storage run in few threads of their own, which keep nobody else waiting, and not the
program's end either.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from orchestrator.faces.storage import executor
from orchestrator.faces.storage.executor import MAX_THREADS, MAX_WAITING_CALLS, StorageExecutor

HANGS_AND_ENDS = """
import asyncio, threading
from orchestrator.faces.storage import executor
executor.GIVE_UP_S = executor.CLOSE_S = 0.05
async def main():
    threads = executor.StorageExecutor("a disk")
    try:
        await threads.run(threading.Event().wait)
    except OSError as error:
        print(error)
    await threads.close()
asyncio.run(main())
"""


@pytest.fixture
def hangs() -> Iterator[threading.Event]:
    """What calls wait for; set at the end, so that no thread is left behind."""
    event = threading.Event()
    yield event
    event.set()


async def started(
    threads: StorageExecutor, calls: int, hangs: threading.Event
) -> list[asyncio.Task[bool]]:
    tasks = [asyncio.create_task(threads.run(hangs.wait)) for _ in range(calls)]
    await asyncio.sleep(0)
    return tasks


async def test_calls_that_hang_leave_the_threads_of_everything_else_alone(
    hangs: threading.Event,
) -> None:
    tasks = await started(StorageExecutor("a disk"), 100, hangs)
    assert sum(thread.name == "a disk" for thread in threading.enumerate()) == MAX_THREADS
    assert await asyncio.to_thread(int, "7") == 7
    hangs.set()
    assert all(await asyncio.gather(*tasks))


async def test_threads_end_with_the_last_call(hangs: threading.Event) -> None:
    threads = StorageExecutor("a disk that rests")
    hangs.set()
    await asyncio.gather(*await started(threads, 20, hangs))
    for thread in threading.enumerate():
        if thread.name == "a disk that rests":
            thread.join(10)
            assert not thread.is_alive()


async def test_what_a_call_raises_reaches_its_caller() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await StorageExecutor("a disk").run(int, "seven")


async def test_a_line_that_is_full_is_told_at_once_and_who_gave_up_is_out_of_it(
    hangs: threading.Event,
) -> None:
    threads = StorageExecutor("a disk")
    running = await started(threads, MAX_THREADS, hangs)
    waiting = await started(threads, MAX_WAITING_CALLS, hangs)
    with pytest.raises(OSError, match="are waiting"):
        await threads.run(int)
    waiting[0].cancel()
    await asyncio.wait([waiting[0]])
    one_more = await started(threads, 1, hangs)
    hangs.set()
    assert all(await asyncio.gather(*running, *waiting[1:], *one_more))


async def test_a_call_that_hangs_is_given_up(
    hangs: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "GIVE_UP_S", 0.01)
    with pytest.raises(OSError, match="a disk did not answer within"):
        await StorageExecutor("a disk").run(hangs.wait)


async def test_closing_waits_for_what_is_being_written(hangs: threading.Event) -> None:
    threads = StorageExecutor("a disk")
    (writing,) = await started(threads, 1, hangs)
    writing.cancel()
    closing = asyncio.create_task(threads.close())
    await asyncio.sleep(0)
    assert not closing.done()
    hangs.set()
    await closing
    await threads.close()


def test_a_program_ends_though_its_storage_hangs() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", HANGS_AND_ENDS],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert ended.stdout.startswith("a disk did not answer")
