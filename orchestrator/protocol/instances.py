"""Constants for a service of several instances: routing keys, and reasons of refusals."""

from __future__ import annotations

import re
from typing import Final

from orchestrator.core.errors import ID_RULE, invalid_field

ROUTE_QUERY: Final = "route"
"""Query parameter of `/v1/ws` with the client's routing key; browsers cannot send headers there."""

ROUTE_HEADER: Final = "X-Lipsync-Route"
"""Header of programs with the same key."""

RESTART_CODE: Final = 1012
"""Close code (service restart, IANA's registry of RFC 6455) of an instance that shuts down, for a
connection without a session.
"""

DRAINING: Final = "DRAINING"
"""`details.reason` of refusals during graceful shutdown."""

OTHER_INSTANCE: Final = "OTHER_INSTANCE"
"""`details.reason` where another instance opened the session to resume."""

EXPIRED: Final = "EXPIRED"
"""`details.reason` where this instance had the session to resume, and ended it."""

_ROUTE: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


def check_route(field: str, value: str | None) -> None:
    """Check a routing key; raises INVALID_MESSAGE for one without the syntax of an id.

    `field` is the name of the parameter or the header.
    """
    if value is not None and not _ROUTE.fullmatch(value):
        raise invalid_field(
            field,
            f"{ID_RULE}; leave it out, or send one random key over all connections of a client",
        )
