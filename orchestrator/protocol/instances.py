"""What the wire says of a service of several instances: the routing key, and why a session is not
here.
"""

from __future__ import annotations

import re
from typing import Final

from orchestrator.core.errors import ID_RULE, invalid_field

ROUTE_QUERY: Final = "route"
"""Query parameter of `/v1/ws` with the client's routing key: browsers cannot send headers there."""

ROUTE_HEADER: Final = "X-Lipsync-Route"
"""Header with the same key, from programs."""

RESTART_CODE: Final = 1012
"""Close code (service restart, IANA's registry of RFC 6455) of an instance that shuts down and
keeps no session of the connection.
"""

DRAINING: Final = "DRAINING"
"""`details.reason` of what an instance refuses while it shuts down."""

OTHER_INSTANCE: Final = "OTHER_INSTANCE"
"""`details.reason` where the session that is to be resumed was opened at another instance."""

EXPIRED: Final = "EXPIRED"
"""`details.reason` where this instance had the session and let go of it."""

_ROUTE: Final = re.compile(r"[A-Za-z0-9._-]{1,128}")


def check_route(field: str, value: str | None) -> None:
    """Raises INVALID_MESSAGE where a routing key is given that could not be an id; `field` is the
    parameter or the header.
    """
    if value is not None and not _ROUTE.fullmatch(value):
        raise invalid_field(
            field,
            f"{ID_RULE}; leave it out, or send one random key over all connections of a client",
        )
