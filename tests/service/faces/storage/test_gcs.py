"""Faces in a bucket behave as faces in a folder do; the emulator is real HTTP, the client is
Google's.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest
from bucket_emulator import BUCKET, bucket_client, emulated_bucket
from closed_port import closed_port

from orchestrator.faces.storage import gcs
from orchestrator.faces.storage.gcs import BucketFaceStore
from orchestrator.faces.storage.layout import active_model_key, derived_prefix, face_prefix
from orchestrator.faces.storage.replacement import version_of

PREFIX = face_prefix("ann", "f")


@pytest.fixture
def store() -> Iterator[BucketFaceStore]:
    with emulated_bucket() as client:
        yield BucketFaceStore(BUCKET, client)


async def test_files_come_back_and_absent_ones_are_none(store: BucketFaceStore) -> None:
    assert await store.read(f"{PREFIX}/metadata.json") is None
    assert await store.blobs(PREFIX) == ()
    await store.replace(PREFIX, {"metadata.json": b"{}", "keypoints.json": b"[]"})
    assert await store.read(f"{PREFIX}/metadata.json") == b"{}"
    assert [(blob.key, blob.size_bytes) for blob in await store.blobs(PREFIX)] == [
        (f"{PREFIX}/keypoints.json", 2),
        (f"{PREFIX}/metadata.json", 2),
    ]


async def test_replacing_leaves_no_old_file_and_changes_the_version(store: BucketFaceStore) -> None:
    await store.replace(PREFIX, {"metadata.json": b"1", "b.json": b"1"})
    before = version_of(await store.blobs(PREFIX))
    await store.replace(PREFIX, {"metadata.json": b"1"})
    assert [blob.key for blob in await store.blobs(PREFIX)] == [f"{PREFIX}/metadata.json"]
    assert version_of(await store.blobs(PREFIX)) != before


async def test_deleting_takes_what_was_derived_along(store: BucketFaceStore) -> None:
    await store.write(active_model_key("ann"), b"{}")
    await store.replace(PREFIX, {"metadata.json": b"1"})
    await store.write(f"{derived_prefix('ann', 'f')}/sadtalker.npz", b"2")
    assert await store.delete(PREFIX) is True
    assert await store.delete(PREFIX) is False
    assert await store.delete(active_model_key("ann")) is True
    assert await store.blobs("face-models/ann") == ()


@pytest.mark.parametrize(
    "key",
    [
        "",
        "face-models",
        "other/ann",
        "face-models/../x",
        "face-models/a/b/c/d",
        "face-models/ann/f/a b",
    ],
)
async def test_a_key_that_is_none_is_not_sent(store: BucketFaceStore, key: str) -> None:
    for call in (store.read(key), store.blobs(key), store.delete(key), store.write(key, b"")):
        with pytest.raises(ValueError, match="key"):
            await call


async def test_a_bucket_that_is_not_there_is_a_failure_of_the_storage() -> None:
    with emulated_bucket() as client, pytest.raises(OSError, match="'absent' failed"):
        await BucketFaceStore("absent", client).blobs(PREFIX)


async def test_a_storage_that_is_away_is_told_within_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gcs, "CALL_TIMEOUT_S", 0.3)
    with closed_port() as port, pytest.raises(OSError):
        await BucketFaceStore(BUCKET, bucket_client(port)).read(f"{PREFIX}/metadata.json")


async def test_a_storage_that_takes_the_request_and_says_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gcs, "CALL_TIMEOUT_S", 0.2)
    monkeypatch.setattr(gcs, "REQUEST_TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(OSError):
        await BucketFaceStore(BUCKET, bucket_client(silent.getsockname()[1])).read(
            f"{PREFIX}/metadata.json"
        )


async def test_bytes_that_were_cut_off_or_changed_on_the_way_are_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gcs, "CALL_TIMEOUT_S", 0.5)
    for answer in (
        _answer(b"half", claimed=100),
        _answer(b"changed", claimed=7, crc32c="AAAAAA=="),
    ):
        with OneAnswer(answer) as port, pytest.raises(OSError):
            await BucketFaceStore(BUCKET, bucket_client(port)).read(f"{PREFIX}/metadata.json")
    await asyncio.sleep(0)


def _answer(body: bytes, claimed: int, crc32c: str = "") -> bytes:
    checksum = f"X-Goog-Hash: crc32c={crc32c}\r\n" if crc32c else ""
    return (
        f"HTTP/1.1 200 OK\r\nContent-Length: {claimed}\r\n{checksum}Connection: "
        "close\r\n\r\n".encode()
        + body
    )


class OneAnswer:
    """A server that gives every request the same bytes and hangs up."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def __enter__(self) -> int:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return int(self._socket.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(self._answer)
