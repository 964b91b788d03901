"""Render a recording to MP4: generation and encoding overlap. Used by the command line and HTTP."""

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
"""Label in the file's metadata that marks it as synthetic."""


def frames_of(sound: Sound, wish: Wish) -> int:
    """Number of frames of the recording; the last one may outlast the audio."""
    return math.ceil(sound.duration_s * wish.video.target_fps - 1e-3)


async def film(
    renderer: OfflineRenderer,
    wish: Wish,
    sound: Sound,
    path: Path,
    after_batch: Callable[[int], Awaitable[None]],
) -> int:
    """Write `path`; one batch is encoded while the next is generated. Returns the number of frames.

    `after_batch` receives the number of frames so far and may wait. If it raises, the work ends and
    no file is left.
    """
    size, fps = wish.video.resolution.width, wish.video.target_fps
    model = " ".join(filter(None, (wish.model.value, renderer.weights_warning(wish.model))))
    samples = await asyncio.to_thread(sound.mono_16k)
    movie = Movie(path, sound, size=size, fps=fps, note=NOTE.format(model=model))
    done = 0
    async with AsyncExitStack() as stack:
        stack.push_async_exit(
            partial(_in_thread, movie.__exit__)
        )  # first, so that a cancellation while it opens also closes it
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
    """Like `asyncio.to_thread`, but a cancelled caller continues only when the thread is done."""
    return await _ended(_begun(work, *args))


def _begun(work: Callable[..., R], *args: object) -> asyncio.Future[R]:
    return asyncio.get_running_loop().run_in_executor(None, work, *args)


async def _ended(call: asyncio.Future[R]) -> R:
    """Result of the call, awaited even if the task is cancelled: its thread writes the movie, which
    nothing else may touch meanwhile.
    """
    cancelled: asyncio.CancelledError | None = None
    while not call.done():
        try:
            await asyncio.wait([call])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        call.exception()  # retrieved, so that asyncio does not log it
        raise cancelled
    return call.result()
