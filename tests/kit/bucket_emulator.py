"""A storage emulator in this process: the real Google client talks to it over HTTP."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from gcp_storage_emulator.server import create_server
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

BUCKET = "faces"


@contextmanager
def emulated_bucket() -> Iterator[storage.Client]:
    """A client of an emulator that holds the empty bucket `BUCKET`."""
    with bucket_emulator() as port:
        yield bucket_client(port)


@contextmanager
def bucket_emulator() -> Iterator[int]:
    """The port of an emulator that holds the empty bucket `BUCKET`."""
    port = free_port()
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    server.start()
    try:
        yield port
    finally:
        server.stop()


def bucket_client(port: int) -> storage.Client:
    """A client of whatever listens on that port of this machine."""
    return storage.Client("lipsync", AnonymousCredentials(), client_options=ClientOptions(api_endpoint=f"http://127.0.0.1:{port}"))


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
