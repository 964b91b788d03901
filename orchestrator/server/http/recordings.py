"""Forms with a recording, which `/v1/render` and `/v1/benchmark` read alike."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from orchestrator.core.errors import invalid_field
from orchestrator.faces.ids import check_id
from orchestrator.faces.storage.layout import DEMO_USER
from orchestrator.server.http.access import caller_of
from orchestrator.server.http.uploads import read_form, upload_of

MAX_RECORDING_BYTES: Final = 64 * 1024 * 1024
"""Five minutes of 44.1 kHz stereo are 53 MB."""


async def recording_form(request: web.Request) -> dict[str, bytes]:
    """The form's fields; its field `audio` is the recording.

    Raises INVALID_MESSAGE for a body that is not such a form.
    """
    if not request.content_type.startswith("multipart/"):
        raise invalid_field(
            "audio", "is missing; send a multipart form whose field `audio` is the recording"
        )
    async with upload_of(request) as upload:
        form = await read_form(request, upload, {"audio": MAX_RECORDING_BYTES})
    if not form.get("audio"):
        raise invalid_field(
            "audio", "is missing; send the recording as the multipart field `audio`"
        )
    return form


def face_owner(request: web.Request, named: str | None) -> str:
    """Id of the face's owner: the named user, else the token's user, else the demo user.

    Raises UNAUTHORIZED where the token belongs to another user.
    """
    caller = caller_of(request)
    user_id = check_id(named or caller.user_id or DEMO_USER, "userId")
    caller.check(user_id)
    return user_id
