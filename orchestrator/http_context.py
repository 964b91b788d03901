"""What the handlers of the HTTP side share: the application's parts, typed answers, bounded forms, and an eye on the client."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine, Mapping
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from orchestrator.capacity import Capacity
from orchestrator.config import ServiceConfig
from orchestrator.errors import LipSyncError, LipSyncErrorCode, invalid_field
from orchestrator.service import LipSyncService

CONFIG: Final = web.AppKey("config", ServiceConfig)
SERVICE: Final = web.AppKey("service", LipSyncService)
SOCKETS: Final[web.AppKey[set[web.WebSocketResponse]]] = web.AppKey("sockets", set)

MEASURED: Final[web.AppKey[list[Capacity]]] = web.AppKey("measured", list)
"""The machine's capacity, once it was measured."""

UPLOADS: Final = web.AppKey("uploads", asyncio.Semaphore)
"""Photos held in memory at once; further uploads wait in their sockets."""

MAX_UPLOADS: Final = 4

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""A body that is no form: a chunk of 4 MiB as base64 in JSON. The fields of forms have limits of their own."""

RENDERS: Final = web.AppKey("renders", asyncio.Semaphore)
"""Recordings rendered at once; further ones are turned away."""

BENCHMARKS: Final = web.AppKey("benchmarks", asyncio.Semaphore)

MAX_TEXT_BYTES: Final = 1024
"""A form's field that is not a file, and a part that nobody asked for."""

MAX_PARTS: Final = 16

UPLOAD_TIMEOUT_S: Final = 60.0
"""A form that is not there by then gives its place to another."""

LOOK_S: Final = 0.25
"""How soon work for a client that went away ends."""

T = TypeVar("T")


def answer(body: msgspec.Struct, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A record as JSON."""
    return web.Response(body=msgspec.json.encode(body), status=status, content_type="application/json", headers=headers)


async def read_form(request: web.Request, files: Mapping[str, int]) -> dict[str, bytes]:
    """A multipart form's fields; `files` are those that may be large, with the most bytes of each. Others are short texts.

    Raises INVALID_MESSAGE that names the field, 408 for one that does not come.
    """
    form: dict[str, bytes] = {}
    try:
        async with asyncio.timeout(UPLOAD_TIMEOUT_S):
            reader = await request.multipart()
            for _ in range(MAX_PARTS):
                part = await reader.next()
                if part is None:
                    return form
                if not isinstance(part, BodyPartReader):
                    raise invalid_field("form", "holds a form within the form; send one flat multipart/form-data")
                name = part.name or ""
                form[name] = await _read_part(part, name, files.get(name, MAX_TEXT_BYTES))
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the form was not complete after {UPLOAD_TIMEOUT_S:g} s; send it faster, or less") from None
    except (ValueError, AssertionError, RuntimeError, HttpProcessingError) as error:  # broken boundaries, headers, encodings
        raise invalid_field("form", f"is not a multipart/form-data body that can be read ({type(error).__name__})") from None
    raise invalid_field("form", f"has more than {MAX_PARTS} parts; send the fields that this path names")


async def _read_part(part: BodyPartReader, name: str, limit: int) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk(65536):
        data += chunk
        if len(data) > limit:
            raise invalid_field(name or "form", f"is larger than {_in_words(limit)}; send less")
    return bytes(data)


def _in_words(size: int) -> str:
    return f"{size // 2**20} MiB" if size >= 2**20 else f"{size} bytes"


def text_of(form: Mapping[str, bytes], name: str) -> str | None:
    """A text field, stripped; None where it is absent or empty."""
    return form.get(name, b"").decode(errors="replace").strip() or None


def number_of(form: Mapping[str, bytes], name: str, default: float, lowest: float, highest: float) -> float:
    """A numeric field within its range; INVALID_MESSAGE that names it."""
    text = text_of(form, name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = math.nan
    if not lowest <= value <= highest:
        raise invalid_field(name, f"is {text!r}; must be a number from {lowest:g} to {highest:g}")
    return value


async def while_connected(request: web.Request, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
    """What `work` gives. It is cancelled when the client goes away (`ConnectionResetError`) or time is up (TIMEOUT)."""
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
