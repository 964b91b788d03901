"""`POST /v1/render`: render a recording to an MP4."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

from orchestrator.audio.sandboxed_files import read_apart
from orchestrator.core.errors import invalid_field
from orchestrator.core.types import LipSyncModel, Resolution, VideoGenerationConfig
from orchestrator.faces.ids import check_id
from orchestrator.inference.model_contract import read_repository
from orchestrator.pipeline.offline_renderer import OfflineRenderer, Wish
from orchestrator.pipeline.render_mp4 import film
from orchestrator.server.http.context import (
    CONFIG,
    RENDERS,
    SERVICE,
    number_field,
    text_field,
    while_connected,
)
from orchestrator.server.http.recordings import face_owner, recording_form
from orchestrator.sessions.admission import too_many
from orchestrator.sessions.directory import SessionDirectory

SIZES: Final = ("128", "256", "512")
"""Sides of the picture on offer, in pixels."""

RETRY_AFTER_S: Final = 15

MAX_PAUSE_RATIO: Final = 4.0
"""Upper bound of the pause after a batch while live sessions speak, relative to the batch's time.
"""

SEND_BYTES: Final = 256 * 1024
"""Size of a piece of the file in one write."""


async def render(request: web.Request) -> web.StreamResponse:
    """Render the multipart field `audio` with a face; send the complete MP4 with sound."""
    app = request.app
    _check_slot(app)
    form = await recording_form(request)
    _check_slot(app)
    with tempfile.TemporaryDirectory(prefix="lipsync-render-") as folder:
        path = Path(folder) / "render.mp4"
        async with app[RENDERS]:
            await while_connected(
                request, _render(request, form, path), app[CONFIG].render_timeout_s
            )
        return await send_file(request, path)


def _check_slot(app: web.Application) -> None:
    """Raise SESSION_LIMIT where all render slots are in use.

    Checked before the upload, so that a refused recording is not transferred, and again after it:
    a slow upload holds no slot.
    """
    if app[RENDERS].locked():
        limit = app[CONFIG].max_renders
        raise too_many(
            f"all {limit} render slots are in use: retry after `Retry-After` seconds",
            retry_after_s=RETRY_AFTER_S,
            limit=limit,
        )


async def _render(request: web.Request, form: dict[str, bytes], path: Path) -> None:
    config, service = request.app[CONFIG], request.app[SERVICE]
    wish = await _wish(request, form)
    sound = await read_apart(form.pop("audio"), max_duration_s=config.max_render_s)
    repository = await asyncio.to_thread(read_repository, config.model_repository)
    renderer = OfflineRenderer(
        config, service.faces, service.video.inference, repository, service.metrics
    )
    await film(renderer, wish, sound, path, _yield_to_live(service.sessions))


def _yield_to_live(sessions: SessionDirectory) -> Callable[[int], Awaitable[None]]:
    """A pause between two batches that grows with the number of live sessions: they come first."""
    loop = asyncio.get_running_loop()
    resumed_s = loop.time()

    async def pause(frames: int) -> None:
        nonlocal resumed_s
        await asyncio.sleep((loop.time() - resumed_s) * min(sessions.speaking(), MAX_PAUSE_RATIO))
        resumed_s = loop.time()

    return pause


async def _wish(request: web.Request, form: Mapping[str, bytes]) -> Wish:
    user_id = face_owner(request, text_field(form, "userId"))
    size = text_field(form, "size") or "256"
    if size not in SIZES:
        raise invalid_field(
            "size", f"is {size!r}; must be {', '.join(SIZES)}: the side of the picture in pixels"
        )
    fps = number_field(form, "targetFps", VideoGenerationConfig().target_fps, 15.0, 25.0)
    model = _model(text_field(form, "model"), request.app[CONFIG].default_model)
    faces = request.app[SERVICE].faces
    face_id = text_field(form, "faceModelId") or await faces.active_model_id(user_id)
    video = VideoGenerationConfig(fps, Resolution(int(size), int(size)))
    return Wish(user_id, check_id(face_id, "faceModelId"), model, video)


def _model(name: str | None, default: LipSyncModel) -> LipSyncModel:
    try:
        return default if name is None else LipSyncModel(name)
    except ValueError:
        raise invalid_field("model", f"{name!r} is unknown; see `GET /v1/models`") from None


async def send_file(request: web.Request, path: Path) -> web.StreamResponse:
    """Send an MP4 file in pieces.

    Disconnects a client that takes no data for `send_timeout_s`, or not all of it within
    `render_timeout_s`: raises ConnectionResetError.
    """
    headers = {
        "Content-Type": "video/mp4",
        "Content-Disposition": 'attachment; filename="render.mp4"',
    }
    response = web.StreamResponse(headers=headers)
    if request.transport is not None:
        # Bytes left in the transport's buffer at the end would have no time limit.
        request.transport.set_write_buffer_limits(high=0)
    try:
        async with asyncio.timeout(request.app[CONFIG].render_timeout_s):
            await _write(request, response, path)
    except TimeoutError:
        raise ConnectionResetError("the client takes no data") from None
    return response


async def _write(request: web.Request, response: web.StreamResponse, path: Path) -> None:
    send_timeout_s = request.app[CONFIG].send_timeout_s
    with path.open("rb") as file:
        response.content_length = os.fstat(file.fileno()).st_size
        await response.prepare(request)
        while piece := await asyncio.to_thread(file.read, SEND_BYTES):
            async with asyncio.timeout(send_timeout_s):
                await response.write(piece)
        async with asyncio.timeout(send_timeout_s):
            await response.write_eof()
