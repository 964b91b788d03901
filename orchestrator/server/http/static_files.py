"""Static files of the demo page."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from orchestrator.core.paths import PAGE


async def page(request: web.Request) -> web.FileResponse:
    """The demo page."""
    return web.FileResponse(PAGE / "index.html")


async def page_file(request: web.Request) -> web.FileResponse:
    """One of the demo page's files; raises 404 for a name outside of their folder."""
    return web.FileResponse(_file_of_page(request.match_info["file"]))


def _file_of_page(name: str) -> Path:
    try:
        path = (PAGE / name).resolve()
        found = path.is_relative_to(PAGE) and path.is_file()
    except (OSError, ValueError):  # a name that no file can have: too long, or with a null byte
        found = False
    if not found:
        raise web.HTTPNotFound
    return path
