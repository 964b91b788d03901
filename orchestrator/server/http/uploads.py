"""What clients send up, bounded: in size, in time, in how much of it one caller and all of them
together hold in memory.
"""

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
"""Bodies of one caller at once; its further ones wait in their sockets, and nobody else does."""

MAX_UPLOADED_BYTES: Final = 512 * 1024 * 1024
"""Of all callers together, while they come and while photos wait to be looked at; one caller's four
recordings are half of it.
"""

UPLOAD_RETRY_S: Final = 15

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""A body that is no form: a chunk of 4 MiB as base64 in JSON. The fields of forms have limits of
their own.
"""

MAX_TEXT_BYTES: Final = 1024
"""A form's field that is not a file, and a part that nobody asked for."""

MAX_PARTS: Final = 16

UPLOAD_TIMEOUT_S: Final = 60.0
"""A body that is not there by then gives its place to another."""


BROKEN: Final = (
    ValueError,
    AssertionError,
    RuntimeError,
    web.RequestPayloadError,
    HttpProcessingError,
)
"""What aiohttp raises over forms with bad boundaries, headers or encodings."""


class Uploads:
    """The bodies that are in memory."""

    def __init__(self, max_bytes: int = MAX_UPLOADED_BYTES) -> None:
        self.left_bytes = max_bytes
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def place(self, caller: str) -> AsyncIterator[Upload]:
        """A body of that caller, once it has fewer than `MAX_UPLOADS` others; its bytes count until
        the end of the context.
        """
        places = self._places.setdefault(caller, asyncio.Semaphore(MAX_UPLOADS))
        async with places:
            upload = Upload(self)
            try:
                yield upload
            finally:
                self.left_bytes += upload.size


class Upload:
    """One body while it comes."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self.size = 0
        """Bytes that came."""

    def take(self, size: int) -> None:
        """So many more bytes came; raises SESSION_LIMIT where there is no room for them."""
        if size > self._uploads.left_bytes:
            raise too_many(
                "others are uploading too much for more to fit in; try again",
                retry_after_s=UPLOAD_RETRY_S,
            )
        self._uploads.left_bytes -= size
        self.size += size


UPLOADS: Final = web.AppKey("uploads", Uploads)


@asynccontextmanager
async def upload_of(request: web.Request) -> AsyncIterator[Upload]:
    """The place of a request's body: among those of its token's user or, where nobody is asked for
    tokens, of its address.
    """
    async with request.app[UPLOADS].place(
        caller_of(request).user_id or f"at {request.remote}"
    ) as upload:
        yield upload


async def read_body(request: web.Request, upload: Upload) -> bytes:
    """A body that is no form. Raises 413 above `MAX_BODY_BYTES`, 408 for one that does not come,
    INVALID_MESSAGE for a bad encoding.
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
        raise invalid_field("body", "is not what its Content-Encoding says") from None
    return b"".join(pieces)


async def read_form(
    request: web.Request, upload: Upload, files: Mapping[str, int]
) -> dict[str, bytes]:
    """A multipart form's fields; `files` are those that may be large, with the most bytes of each.
    Others are short texts.

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
                    raise invalid_field(
                        "form", "holds a form within the form; send one flat multipart/form-data"
                    )
                name = part.name or ""
                form[name] = await _read_part(part, upload, name, files.get(name, MAX_TEXT_BYTES))
    except TimeoutError:
        raise _too_late("form") from None
    except BROKEN as error:
        _give_up(request)
        raise invalid_field(
            "form", f"is not a multipart/form-data body that can be read ({type(error).__name__})"
        ) from None
    raise invalid_field(
        "form", f"has more than {MAX_PARTS} parts; send the fields that this path names"
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
    """Close the connection with the answer, and without the look at the rest of the body that would
    put a traceback into the log.
    """
    request.content.feed_eof()
    request.protocol.close()


def _in_words(size: int) -> str:
    return f"{size // 2**20} MiB" if size >= 2**20 else f"{size} bytes"


def _too_late(what: str) -> web.HTTPRequestTimeout:
    return web.HTTPRequestTimeout(
        text=f"the {what} was not complete after {UPLOAD_TIMEOUT_S:g} s; send it faster, or less"
    )
