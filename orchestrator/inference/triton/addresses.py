"""Host names and their addresses, looked up in daemon threads.

A slow resolver thus delays neither the event loop nor the exit.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[str]]]
"""Function that resolves a host name to all its IP addresses.

Raises OSError or UnicodeError where it has none or the resolver fails.
"""


def split_url(url: str) -> tuple[str, str]:
    """Host, without the brackets of an IPv6 address, and port of `host:port`."""
    host, _, port = url.rpartition(":")
    return host.strip("[]"), port


def joined(address: str, port: str) -> str:
    """`address:port`, an IPv6 address in brackets."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def is_name(host: str) -> bool:
    """True unless `host` is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


async def addresses_of(host: str) -> list[str]:
    """Addresses of `host` by the system's resolver, sorted: IPv4 where it has any, else IPv6.

    One family only, since a server behind a name with both would count twice, and Triton listens on
    IPv4 by default. An abandoned lookup continues in its daemon thread until the system's own
    limit.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(deliver: Callable[[Any], None], value: Any) -> None:
        if not answer.done():
            deliver(value)

    def look_up() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = answer.set_result, _looked_up(host)
        except (OSError, UnicodeError) as error:
            outcome = answer.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, *outcome)

    try:
        threading.Thread(target=look_up, name=f"resolve {host}", daemon=True).start()
    except RuntimeError as error:
        raise OSError(str(error)) from None
    return await answer


def _looked_up(host: str) -> list[str]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    families = {
        family: {str(address[0]) for each, *_, address in found if each == family}
        for family in (socket.AF_INET, socket.AF_INET6)
    }
    return sorted(families[socket.AF_INET] or families[socket.AF_INET6])
