"""Storage emulator in this process, used by the real Google client over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gcp_storage_emulator.server import RequestHandler, create_server
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

BUCKET = "faces"


RequestHandler.disable_nagle_algorithm = True
"""Its answers come in two pieces, of which the second would wait 40 ms for the first one's
acknowledgement.
"""


@contextmanager
def emulated_bucket() -> Iterator[storage.Client]:
    """A client of an emulator that holds the empty bucket `BUCKET`."""
    with bucket_emulator() as port:
        yield bucket_client(port)


@contextmanager
def bucket_emulator() -> Iterator[int]:
    """The port of an emulator that holds the empty bucket `BUCKET`."""
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    server.start()
    try:
        yield server._api._httpd.server_address[1]
    finally:
        server.stop()


def bucket_client(port: int) -> storage.Client:
    """A client of whatever listens on that port of this machine."""
    return storage.Client(
        "lipsync",
        AnonymousCredentials(),
        client_options=ClientOptions(api_endpoint=f"http://127.0.0.1:{port}"),
    )
