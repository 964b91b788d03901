"""Thread pool for live frames.

Nothing that may hang or takes long runs there, so that no frame waits behind it.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_FRAMES: Final = ThreadPoolExecutor(thread_name_prefix="frames")


async def in_frame_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `work` as `asyncio.to_thread` does, in the pool for live frames.

    All other work shares the default pool: uploads, recordings, preparation of faces.
    """
    call = partial(contextvars.copy_context().run, work, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_FRAMES, call)
