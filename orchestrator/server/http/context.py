"""What the handlers of the HTTP side share: the application's parts, typed answers, the fields of
forms, and an eye on the client.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web

from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode, invalid_field
from orchestrator.pipeline.capacity_probe import Capacity
from orchestrator.protocol import wire_value
from orchestrator.sessions.directory import Switchboard
from orchestrator.sessions.service import LipSyncService

CONFIG: Final = web.AppKey("config", ServiceConfig)
SERVICE: Final = web.AppKey("service", LipSyncService)
SWITCHBOARD: Final = web.AppKey("switchboard", Switchboard)

START_S: Final = 30.0
"""The default model may come so much later than the service: a Triton loads it. After that another
model speaks instead.
"""


class Start:
    """The time until the service is ready for the first time."""

    def __init__(self) -> None:
        self._ends_s = time.monotonic() + START_S
        self._is_over = False

    def is_over(self, *, is_whole: bool) -> bool:
        """True from when the default model was first there (`is_whole`), or was waited for long
        enough.
        """
        self._is_over = self._is_over or is_whole or time.monotonic() > self._ends_s
        return self._is_over


START: Final = web.AppKey("start", Start)

MEASURED: Final[web.AppKey[list[Capacity]]] = web.AppKey("measured", list)
"""The machine's capacity, once it was measured."""

RENDERS: Final = web.AppKey("renders", asyncio.Semaphore)
"""Recordings rendered at once; further ones are turned away."""

BENCHMARKS: Final = web.AppKey("benchmarks", asyncio.Semaphore)

LOOK_S: Final = 0.25
"""How soon work for a client that went away ends."""

T = TypeVar("T")


def answer(
    body: msgspec.Struct, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A record as JSON."""
    return web.Response(
        body=msgspec.json.encode(body, enc_hook=wire_value),
        status=status,
        content_type="application/json",
        headers=headers,
    )


def text_of(form: Mapping[str, bytes], name: str) -> str | None:
    """A text field, stripped; None where it is absent or empty."""
    return form.get(name, b"").decode(errors="replace").strip() or None


def number_of(
    form: Mapping[str, bytes], name: str, default: float, lowest: float, highest: float
) -> float:
    """A numeric field within its range; INVALID_MESSAGE that names it."""
    text = text_of(form, name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = math.nan
    if not lowest <= value <= highest:
        raise invalid_field(name, f"is {text!r}; must be a number from {lowest:g} to {highest:g}")
    return value


async def while_connected(
    request: web.Request, work: Coroutine[Any, Any, T], timeout_s: float
) -> T:
    """What `work` gives. It is cancelled when the client goes away (`ConnectionResetError`) or time
    is up (TIMEOUT).
    """
    task = asyncio.create_task(work, name=f"{request.method} {request.path}")
    try:
        async with asyncio.timeout(timeout_s):
            while not (await asyncio.wait({task}, timeout=LOOK_S))[0]:
                if request.transport is None or request.transport.is_closing():
                    raise ConnectionResetError("the client went away")
            return task.result()
    except TimeoutError:
        message = f"not done after {timeout_s:g} s; send less, or ask for a faster model"
        raise LipSyncError(LipSyncErrorCode.TIMEOUT, message) from None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
