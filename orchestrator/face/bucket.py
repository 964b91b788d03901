"""Face models in a Google Cloud Storage bucket, in the same layout as in a folder; the only file that knows Google's client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from google.api_core.exceptions import GoogleAPIError, NotFound
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY

from orchestrator.config import ConfigError
from orchestrator.face.ids import is_path_part
from orchestrator.face.storage_threads import StorageThreads
from orchestrator.face.store import ROOT, Blob, is_derived

REQUEST_TIMEOUT_S: Final = 5.0
"""For one HTTP request to the bucket."""

CALL_TIMEOUT_S: Final = 12.0
"""For one call of the store, repeated requests included."""

COMPLETES: Final = "metadata.json"
"""Removed first and written last when a face is replaced: without it there is no face, so nobody sees one that is half old."""

CREDENTIALS: Final = (
    "set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, or run `gcloud auth application-default login`; "
    "where these name no project, set GOOGLE_CLOUD_PROJECT"
)

R = TypeVar("R")


class BucketFaceStore:
    """`FaceStore` over a bucket; `storage.Client` finds its credentials, or an emulator by STORAGE_EMULATOR_HOST."""

    def __init__(self, bucket: str, client: storage.Client | None = None) -> None:
        self._client = client or _client(bucket)
        self._bucket = self._client.bucket(bucket)
        self._threads = StorageThreads(f"the bucket {bucket!r}")
        self._options: dict[str, Any] = {"timeout": REQUEST_TIMEOUT_S, "retry": DEFAULT_RETRY.with_timeout(CALL_TIMEOUT_S)}

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        return await self._call(self._blobs, prefix)

    async def read(self, key: str) -> bytes | None:
        return await self._call(self._read, key)

    async def write(self, key: str, data: bytes) -> None:
        await self._call(self._write, key, data)

    async def replace(self, prefix: str, files: Mapping[str, bytes]) -> None:
        await self._call(self._replace, prefix, dict(files))

    async def delete(self, prefix: str) -> bool:
        return await self._call(self._delete, prefix)

    async def close(self) -> None:
        await self._threads.close()

    async def _call(self, work: Callable[..., R], key: str, *arguments: Any) -> R:
        """Whatever Google's client raises becomes an `OSError`, as for a disk."""
        _check(key)
        try:
            return await self._threads.run(work, key, *arguments)
        except (GoogleAPIError, GoogleAuthError, DataCorruption) as error:
            raise OSError(f"the bucket {self._bucket.name!r} failed: {error}") from error

    def _blobs(self, prefix: str) -> tuple[Blob, ...]:
        found = self._client.list_blobs(self._bucket, prefix=f"{prefix}/", **self._options)
        return tuple(Blob(blob.name, int(blob.size or 0), str(blob.generation)) for blob in found)

    def _read(self, key: str) -> bytes | None:
        try:
            data: bytes = self._bucket.blob(key).download_as_bytes(checksum="crc32c", **self._options)
        except NotFound:
            return None
        return data

    def _write(self, key: str, data: bytes) -> None:
        kind = "application/json" if key.endswith(".json") else "application/octet-stream"
        self._bucket.blob(key).upload_from_string(data, content_type=kind, checksum="crc32c", **self._options)

    def _replace(self, prefix: str, files: dict[str, bytes]) -> None:
        if not all(map(is_path_part, files)):
            raise ValueError(f"not names of files: {sorted(files)}")
        old = [blob.key for blob in self._blobs(prefix)]
        kept = {f"{prefix}/{name}" for name in files}
        for key in sorted(old, key=lambda key: not key.endswith(f"/{COMPLETES}")):
            if key not in kept or key.endswith(f"/{COMPLETES}"):
                self._remove(key)
        for name in sorted(files, key=lambda name: name == COMPLETES):
            self._write(f"{prefix}/{name}", files[name])

    def _delete(self, prefix: str) -> bool:
        doomed = [blob.key for blob in self._blobs(prefix)]
        removed = [self._remove(key) for key in sorted([*doomed, prefix], key=lambda key: not key.endswith(f"/{COMPLETES}"))]
        return any(removed)

    def _remove(self, key: str) -> bool:
        try:
            self._bucket.blob(key).delete(**self._options)
        except NotFound:
            return False
        return True


def _client(bucket: str) -> storage.Client:
    try:
        return storage.Client()
    except (GoogleAuthError, OSError) as error:  # an OSError where no project is known
        raise ConfigError(f"bucket {bucket!r} cannot be opened: {str(error).split(' To ')[0].rstrip('.')}; {CREDENTIALS}") from None


def _check(key: str) -> None:
    parts = key.split("/")
    if parts[0] != ROOT or not 2 <= len(parts) <= (5 if is_derived(key) else 4) or not all(map(is_path_part, parts)):
        raise ValueError(f"not a key of the face store: {key!r}")
