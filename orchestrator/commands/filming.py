"""Frames and sound become an MP4: drawing and coding side by side, for the command line and for HTTP."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final

from orchestrator.audio.reader import Sound
from orchestrator.commands.movie import Movie
from orchestrator.commands.offline import OfflineRenderer, Wish

NOTE: Final = "Synthetic media: a speaking face made from a photo and audio with {model} by lipsync-service."
"""Into the file's metadata, so that nobody who looks takes it for a recording."""


def frames_of(sound: Sound, wish: Wish) -> int:
    """How many pictures the sound takes: the last one may outlast it."""
    return math.ceil(sound.duration_s * wish.video.target_fps - 1e-3)


async def film(renderer: OfflineRenderer, wish: Wish, sound: Sound, path: Path, after_batch: Callable[[int], Awaitable[None]]) -> int:
    """Write `path`; while one batch is coded the next is drawn. Returns the number of frames.

    `after_batch` is told how many frames are drawn and may wait; what it raises ends the work and leaves no file.
    """
    size, fps = wish.video.resolution.width, wish.video.target_fps
    model = " ".join(filter(None, (wish.model.value, renderer.weights_warning(wish.model))))
    samples = await asyncio.to_thread(sound.mono_16k)
    done = 0
    with Movie(path, sound, size=size, fps=fps, note=NOTE.format(model=model)) as movie:
        coding: asyncio.Task[None] | None = None
        async with aclosing(renderer.frames(wish, samples)) as batches:
            try:
                async for batch in batches:
                    if coding is not None:
                        await asyncio.shield(coding)  # its thread writes: cancelled or not, the file stays open until it is done
                    coding = asyncio.create_task(asyncio.to_thread(movie.add, batch), name="code frames")
                    done += len(batch)
                    await after_batch(done)
            finally:
                if coding is not None:
                    await asyncio.shield(coding)
    return done
