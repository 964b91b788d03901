"""Shared parts of the HTTP handlers: application keys, JSON responses, fields, cancellation."""

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
from orchestrator.sessions.directory import SessionDirectory
from orchestrator.sessions.service import LipSyncService

CONFIG: Final = web.AppKey("config", ServiceConfig)
SERVICE: Final = web.AppKey("service", LipSyncService)
SWITCHBOARD: Final = web.AppKey("switchboard", SessionDirectory)

START_S: Final = 30.0
"""Longest wait for the default model after the start: a Triton loads it. After that another model
replaces it.
"""


class Start:
    """The phase before the service is ready for the first time."""

    def __init__(self) -> None:
        self._ends_s = time.monotonic() + START_S
        self._is_over = False

    def is_over(self, *, is_whole: bool) -> bool:
        """True from the first call with `is_whole` (the default model is available), or after
        `START_S`.
        """
        self._is_over = self._is_over or is_whole or time.monotonic() > self._ends_s
        return self._is_over


START: Final = web.AppKey("start", Start)

MEASURED: Final[web.AppKey[list[Capacity]]] = web.AppKey("measured", list)
"""The machine's capacity; empty until it is measured."""

DESCRIPTION: Final = web.AppKey("description", bytes)
"""The OpenAPI document as JSON."""

RENDERS: Final = web.AppKey("renders", asyncio.Semaphore)
"""Render slots; a request without a free one is refused."""

BENCHMARKS: Final = web.AppKey("benchmarks", asyncio.Semaphore)
"""The slot of the one benchmark that may run."""

DISCONNECT_POLL_S: Final = 0.25
"""Interval of the check for a client's disconnection during long work."""

T = TypeVar("T")


def json_response(
    body: msgspec.Struct, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A record as a JSON response."""
    return web.Response(
        body=msgspec.json.encode(body, enc_hook=wire_value),
        status=status,
        content_type="application/json",
        headers=headers,
    )


def text_field(form: Mapping[str, bytes], name: str) -> str | None:
    """A text field, stripped; None where it is absent or empty."""
    return form.get(name, b"").decode(errors="replace").strip() or None


def number_field(
    form: Mapping[str, bytes], name: str, default: float, lowest: float, highest: float
) -> float:
    """A numeric field, or `default`; raises INVALID_MESSAGE outside of `lowest` to `highest`."""
    text = text_field(form, name)
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
    """Await `work`; cancel it when the client disconnects or `timeout_s` has passed.

    Raises ConnectionResetError for a disconnected client, TIMEOUT after `timeout_s`.
    """
    task = asyncio.create_task(work, name=f"{request.method} {request.path}")
    try:
        async with asyncio.timeout(timeout_s):
            while not (await asyncio.wait({task}, timeout=DISCONNECT_POLL_S))[0]:
                if request.transport is None or request.transport.is_closing():
                    raise ConnectionResetError("the client disconnected")
            return task.result()
    except TimeoutError:
        message = (
            f"timed out after {timeout_s:g} s: send a shorter recording or choose a faster model"
        )
        raise LipSyncError(LipSyncErrorCode.TIMEOUT, message) from None
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
