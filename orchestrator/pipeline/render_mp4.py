"""Frames and sound become an MP4: drawing and coding side by side, for the command line and for
HTTP.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from orchestrator.audio.files import Sound
from orchestrator.pipeline.offline_renderer import OfflineRenderer, Wish
from orchestrator.video.mp4_writer import Movie

R = TypeVar("R")

NOTE: Final = (
    "Synthetic media: a speaking face made from a photo and audio with {model} by lipsync-service."
)
"""Into the file's metadata, so that nobody who looks takes it for a recording."""


def frames_of(sound: Sound, wish: Wish) -> int:
    """How many pictures the sound takes: the last one may outlast it."""
    return math.ceil(sound.duration_s * wish.video.target_fps - 1e-3)


async def film(
    renderer: OfflineRenderer,
    wish: Wish,
    sound: Sound,
    path: Path,
    after_batch: Callable[[int], Awaitable[None]],
) -> int:
    """Write `path`; while one batch is coded the next is drawn. Returns the number of frames.

    `after_batch` is told how many frames are drawn and may wait; what it raises ends the work and
    leaves no file.
    """
    size, fps = wish.video.resolution.width, wish.video.target_fps
    model = " ".join(filter(None, (wish.model.value, renderer.weights_warning(wish.model))))
    samples = await asyncio.to_thread(sound.mono_16k)
    movie = Movie(path, sound, size=size, fps=fps, note=NOTE.format(model=model))
    done = 0
    async with AsyncExitStack() as stack:
        stack.push_async_exit(
            partial(_in_thread, movie.__exit__)
        )  # first: whoever is cancelled while it opens leaves it too
        await _in_thread(movie.__enter__)
        batches = await stack.enter_async_context(aclosing(renderer.frames(wish, samples)))
        coding: asyncio.Future[None] | None = None
        try:
            async for batch in batches:
                if coding is not None:
                    await _ended(coding)
                coding = _begun(movie.add, batch)
                done += len(batch)
                await after_batch(done)
        finally:
            if coding is not None:
                await _ended(coding)
    return done


async def _in_thread(work: Callable[..., R], *args: object) -> R:
    """As `asyncio.to_thread`, but whoever is cancelled meanwhile goes on only when the thread is
    done.
    """
    return await _ended(_begun(work, *args))


def _begun(work: Callable[..., R], *args: object) -> asyncio.Future[R]:
    return asyncio.get_running_loop().run_in_executor(None, work, *args)


async def _ended(call: asyncio.Future[R]) -> R:
    """What it gives. Its thread writes the movie, which nothing else may touch meanwhile, however
    often the task is cancelled.
    """
    cancelled: asyncio.CancelledError | None = None
    while not call.done():
        try:
            await asyncio.wait([call])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        call.exception()  # looked at: what fails in work that is given up is no news
        raise cancelled
    return call.result()
