"""A movie is opened, coded and closed beside the event loop, which others' live frames wait for,
and never in two threads at once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from orchestrator.audio.files import Sound
from orchestrator.core.types import LipSyncModel, Resolution, Samples, VideoGenerationConfig
from orchestrator.models.base import Frames
from orchestrator.pipeline.offline_renderer import Wish
from orchestrator.pipeline.render_mp4 import film
from orchestrator.video import mp4_writer

SIZE, BATCH, BATCHES = 128, 5, 4
WISH = Wish(
    "ann", "portrait", LipSyncModel.TPSM, VideoGenerationConfig(20.0, Resolution(SIZE, SIZE))
)


class Drawn:
    """A renderer whose pictures are all the same."""

    def weights_warning(self, model: LipSyncModel) -> str:
        return ""

    async def frames(self, wish: Wish, samples: Samples) -> AsyncGenerator[Frames, None]:
        for _ in range(BATCHES):
            yield np.full((BATCH, SIZE, SIZE, 3), 128, np.uint8)


@dataclass
class Watched:
    """What is done to a movie's file, and in which threads; a step may be made to wait until the
    test lets it go on.
    """

    held: str | None = None
    steps: list[str] = field(default_factory=list)
    threads: set[threading.Thread] = field(default_factory=set)
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: threading.Event = field(default_factory=threading.Event)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def step(self, name: str, work: Callable[..., Any], *args: Any) -> Any:
        self.threads.add(threading.current_thread())
        self.steps.append(f"{name} begins")
        if name == self.held:
            self.held = None
            self.loop.call_soon_threadsafe(self.reached.set)
            if threading.current_thread() is not threading.main_thread():
                self.released.wait()
        answer = work(*args)
        self.steps.append(f"{name} ends")
        return answer


class WatchedSound(Sound):
    watched: Watched

    def resampled(self, rate_hz: int) -> Sound:
        return self.watched.step("resample", super().resampled, rate_hz)


class WatchedContainer:
    def __init__(self, container: Any, watched: Watched) -> None:
        self._container, self._watched = container, watched

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def mux(self, packets: Any) -> None:
        self._watched.step("mux", self._container.mux, packets)

    def close(self) -> None:
        self._watched.step("close", self._container.close)


def _watched_movie(
    monkeypatch: pytest.MonkeyPatch, held: str | None = None
) -> tuple[Watched, Sound]:
    """One whose sound has to be resampled."""
    watched, opened = Watched(held), av.open
    monkeypatch.setattr(WatchedSound, "watched", watched, raising=False)
    monkeypatch.setattr(
        mp4_writer.av,
        "open",
        lambda *args, **options: WatchedContainer(
            watched.step("open", lambda: opened(*args, **options)), watched
        ),
    )
    return watched, WatchedSound(np.zeros((2, 44_056), np.float32), 44_056)


def _names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def _nothing(_: int) -> None: ...


async def test_no_step_of_a_movie_is_done_in_the_event_loops_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, sound = _watched_movie(monkeypatch)
    assert await film(Drawn(), WISH, sound, tmp_path / "out.mp4", _nothing) == BATCH * BATCHES  # type: ignore[arg-type]
    assert {"resample ends", "open ends", "mux ends", "close ends"} <= set(watched.steps)
    assert threading.current_thread() not in watched.threads
    assert _names(tmp_path) == ["out.mp4"]


@pytest.mark.parametrize("held", ["resample", "open", "mux", "close"])
async def test_whoever_is_cancelled_ever_so_often_waits_for_the_thread_and_closes_the_file_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: str
) -> None:
    watched, sound = _watched_movie(monkeypatch, held)
    filming = asyncio.create_task(film(Drawn(), WISH, sound, tmp_path / "out.mp4", _nothing))  # type: ignore[arg-type]
    await watched.reached.wait()
    steps = len(watched.steps)
    try:
        for _ in range(3):
            filming.cancel()
            for _ in range(10):
                await asyncio.sleep(0)
            assert not filming.done() and len(watched.steps) == steps, (
                "the file is left alone while a thread is at it"
            )
    finally:
        watched.released.set()
    with pytest.raises(asyncio.CancelledError):
        await filming
    assert watched.steps[-1] == "close ends"
    assert watched.steps[1::2] == [step.replace("begins", "ends") for step in watched.steps[::2]], (
        "one step after another"
    )
    assert threading.current_thread() not in watched.threads
    assert not [name for name in _names(tmp_path) if name.endswith(".part")]
