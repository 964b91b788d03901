"""Request bodies within limits: size, time, and memory of one caller and of all callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from orchestrator.core.errors import invalid_field
from orchestrator.server.http.access import caller_of
from orchestrator.sessions.admission import too_many

MAX_UPLOADS: Final = 4
"""Concurrent bodies of one caller. Its further ones wait in their sockets (backpressure); other
callers are unaffected.
"""

MAX_UPLOADED_BYTES: Final = 512 * 1024 * 1024
"""Memory for the bodies of all callers, from their arrival until they are processed. Four
recordings of one caller are half of it.
"""

UPLOAD_RETRY_S: Final = 15
"""`Retry-After` while the upload memory is full, in seconds."""

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""Largest body that is not a form: a chunk of 4 MiB as base64 in JSON. Fields of forms have limits
of their own.
"""

MAX_TEXT_BYTES: Final = 1024
"""Largest form field that is not a file, and largest unknown part."""

MAX_PARTS: Final = 16

UPLOAD_TIMEOUT_S: Final = 60.0
"""Time limit of a body; after it the body gives up its slot."""

FORM_ERRORS: Final = (
    ValueError,
    AssertionError,
    RuntimeError,
    web.RequestPayloadError,
    HttpProcessingError,
)
"""Exceptions of aiohttp for forms with invalid boundaries, headers or encodings."""


class Uploads:
    """Account of the bodies in memory."""

    def __init__(self, max_bytes: int = MAX_UPLOADED_BYTES) -> None:
        self.left_bytes = max_bytes
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def place(self, caller: str) -> AsyncIterator[Upload]:
        """A slot for a body of `caller`, once it has fewer than `MAX_UPLOADS` others.

        The bytes of the body count until the end of the context.
        """
        places = self._places.setdefault(caller, asyncio.Semaphore(MAX_UPLOADS))
        async with places:
            upload = Upload(self)
            try:
                yield upload
            finally:
                self.left_bytes += upload.size


class Upload:
    """One body during its upload."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self.size = 0
        """Bytes received so far."""

    def take(self, size: int) -> None:
        """Count `size` more bytes; raise SESSION_LIMIT where the upload memory is full."""
        if size > self._uploads.left_bytes:
            raise too_many(
                "upload memory is full: retry after `Retry-After` seconds",
                retry_after_s=UPLOAD_RETRY_S,
            )
        self._uploads.left_bytes -= size
        self.size += size


UPLOADS: Final = web.AppKey("uploads", Uploads)


@asynccontextmanager
async def upload_of(request: web.Request) -> AsyncIterator[Upload]:
    """A slot for the request's body.

    The caller is the token's user; without tokens it is the client's address.
    """
    async with request.app[UPLOADS].place(
        caller_of(request).user_id or f"at {request.remote}"
    ) as upload:
        yield upload


async def read_body(request: web.Request, upload: Upload) -> bytes:
    """Read a body that is not a form.

    Raises 413 above `MAX_BODY_BYTES`, 408 after `UPLOAD_TIMEOUT_S`, INVALID_MESSAGE for an invalid
    encoding.
    """
    pieces: list[bytes] = []
    try:
        async with asyncio.timeout(UPLOAD_TIMEOUT_S):
            async for piece in request.content.iter_any():
                upload.take(len(piece))
                pieces.append(piece)
                if upload.size > MAX_BODY_BYTES:
                    raise web.HTTPRequestEntityTooLarge(
                        max_size=MAX_BODY_BYTES, actual_size=upload.size
                    )
    except TimeoutError:
        raise _too_late("body") from None
    except (web.RequestPayloadError, HttpProcessingError):
        _give_up(request)
        raise invalid_field("body", "does not match its Content-Encoding") from None
    return b"".join(pieces)


async def read_form(
    request: web.Request, upload: Upload, files: Mapping[str, int]
) -> dict[str, bytes]:
    """Read a multipart form; return its fields by name.

    `files` maps each field that may be large to its limit in bytes; others are limited to
    `MAX_TEXT_BYTES`. Raises INVALID_MESSAGE that names the field, 408 after `UPLOAD_TIMEOUT_S`.
    """
    form: dict[str, bytes] = {}
    try:
        async with asyncio.timeout(UPLOAD_TIMEOUT_S):
            async for part in _parts(request):
                name = part.name or ""
                form[name] = await _read_part(part, upload, name, files.get(name, MAX_TEXT_BYTES))
    except TimeoutError:
        raise _too_late("form") from None
    except FORM_ERRORS as error:
        _give_up(request)
        raise invalid_field(
            "form", f"is not a readable multipart/form-data body ({type(error).__name__})"
        ) from None
    return form


async def _parts(request: web.Request) -> AsyncIterator[BodyPartReader]:
    """The form's parts; raises INVALID_MESSAGE for a nested form and above `MAX_PARTS` parts."""
    reader = await request.multipart()
    for _ in range(MAX_PARTS):
        part = await reader.next()
        if part is None:
            return
        if not isinstance(part, BodyPartReader):
            raise invalid_field(
                "form", "contains a nested form; send one flat multipart/form-data body"
            )
        yield part
    raise invalid_field(
        "form", f"has more than {MAX_PARTS} parts; send only the fields of this path"
    )


async def _read_part(part: BodyPartReader, upload: Upload, name: str, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := await part.read_chunk(65536):
        upload.take(len(piece))
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            raise invalid_field(name or "form", f"is larger than {_in_words(limit)}; send less")
    return b"".join(pieces)


def _give_up(request: web.Request) -> None:
    """Close the connection after the response.

    Otherwise aiohttp reads the rest of the body, and logs a traceback.
    """
    request.content.feed_eof()
    request.protocol.close()


def _in_words(size: int) -> str:
    return f"{size // 2**20} MiB" if size >= 2**20 else f"{size} bytes"


def _too_late(what: str) -> web.HTTPRequestTimeout:
    return web.HTTPRequestTimeout(
        text=f"the {what} was not complete after {UPLOAD_TIMEOUT_S:g} s: send less, or send faster"
    )
