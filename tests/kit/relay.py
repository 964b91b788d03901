"""A stretch of wire between a client and the service that a test can cut: both sides then see the connection break."""

from __future__ import annotations

import contextlib
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

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 80)
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
        """Break them, and every other one meanwhile, so that nobody gets through before a test has seen that."""
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
                far = socket.create_connection(self._target)
            except OSError:
                return
            self._open |= {near, far}
            if self._is_away:
                self.cut()
                continue
            for source, sink in ((near, far), (far, near)):
                self._threads.append(threading.Thread(target=self._pass, args=(source, sink), daemon=True))
                self._threads[-1].start()

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


@contextmanager
def relay(url: str) -> Iterator[Relay]:
    """A relay to the service at `url`, closed at the end."""
    wire = Relay(url)
    try:
        yield wire
    finally:
        wire.close()
