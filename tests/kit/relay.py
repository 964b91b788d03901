"""TCP relay between a client and the service whose connections a test can break."""

from __future__ import annotations

import contextlib
import http
import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER on, no seconds: closing resets the connection instead of ending it in order."""


class Relay:
    """Passes bytes both ways, each connection in two threads of its own."""

    def __init__(self, *urls: str) -> None:
        """Each connection goes to the first of `urls`; where there are several, to the first that
        is ready, as a gateway sends it.
        """
        self._urls = urls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._is_away = False
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """As the service's own."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/"

    def cut(self) -> None:
        """Break every connection that is open now."""
        for end in list(self._open):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.shutdown(socket.SHUT_RD)  # wakes the thread that reads it
            self._close(end)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Break them, and every other one meanwhile, so that nobody gets through before a test has
        seen that.
        """
        self._is_away = True
        self.cut()
        try:
            yield
        finally:
            self._is_away = False

    def close(self) -> None:
        """The end of it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(_address(self._chosen()))
            except OSError:
                near.close()
                continue
            self._open |= {near, far}
            if self._is_away:
                self.cut()
                continue
            for source, sink in ((near, far), (far, near)):
                self._threads.append(
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True)
                )
                self._threads[-1].start()

    def _chosen(self) -> str:
        return (
            self._urls[0]
            if len(self._urls) == 1
            else next(filter(is_ready, self._urls), self._urls[0])
        )

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
        self._close(source)

    def _close(self, end: socket.socket) -> None:
        self._open.discard(end)
        end.close()


def is_ready(url: str) -> bool:
    """`/readyz` of the instance at `url` is 200."""
    host, port = _address(url)
    asking = http.client.HTTPConnection(host, port, timeout=10.0)
    with contextlib.closing(asking), contextlib.suppress(OSError, http.client.HTTPException):
        asking.request("GET", "/readyz")
        return asking.getresponse().status == http.HTTPStatus.OK
    return False


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 80


@contextmanager
def relay(*urls: str) -> Iterator[Relay]:
    """A relay to the service at `urls`, one or several instances of it; closed at the end."""
    wire = Relay(*urls)
    try:
        yield wire
    finally:
        wire.close()
