"""Face store in a Google Cloud Storage bucket, in the layout of the local folder.

The only module that imports Google's client.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

from google.api_core.exceptions import GoogleAPIError, NotFound
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY

from orchestrator.core.config import ConfigError
from orchestrator.faces.ids import is_path_part
from orchestrator.faces.storage.executor import StorageExecutor
from orchestrator.faces.storage.face_listing import METADATA
from orchestrator.faces.storage.layout import ROOT, Blob, is_derived
from orchestrator.faces.storage.replacement import is_replacement, new_replacement_name, packed

REQUEST_TIMEOUT_S: Final = 5.0
"""Limit of one HTTP request to the bucket."""

CALL_TIMEOUT_S: Final = 12.0
"""Limit of one call of the store, retries included."""

MAX_PLACING_S: Final = 20.0
"""Limit for writing the files of a face under their names; below `executor.GIVE_UP_S`."""

ABANDONED_S: Final = 60.0
"""Age difference to the latest replacement from which the writer of an older one counts as dead.

A live writer stops after `MAX_PLACING_S` and one last call.
"""

POLL_S: Final = 0.1
"""Interval between two listings while an earlier writer of the same face is active."""

CREDENTIALS: Final = (
    "set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account, or run `gcloud "
    "auth application-default login`; where these name no project, set GOOGLE_CLOUD_PROJECT"
)

FAILURES: Final = (GoogleAPIError, GoogleAuthError, DataCorruption)
"""Exceptions that Google's client raises."""

R = TypeVar("R")


class BucketFaceStore:
    """`FaceStore` over a bucket.

    `storage.Client` finds the credentials, or an emulator by STORAGE_EMULATOR_HOST.
    """

    def __init__(self, bucket: str, client: storage.Client | None = None) -> None:
        self._client = client or _client(bucket)
        self._bucket = self._client.bucket(bucket)
        self._given_up: set[str] = set()
        self._threads = StorageExecutor(f"the bucket {bucket!r}")
        self._options: dict[str, Any] = {
            "timeout": REQUEST_TIMEOUT_S,
            "retry": DEFAULT_RETRY.with_timeout(CALL_TIMEOUT_S),
        }

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
        """Run in a storage thread; exceptions of Google's client become `OSError`."""
        _check(key)
        try:
            return await self._threads.run(work, key, *arguments)
        except FAILURES as error:
            raise OSError(f"the bucket {self._bucket.name!r} failed: {error}") from error

    def _blobs(self, prefix: str) -> tuple[Blob, ...]:
        """List the files; of the replacements of a face only the latest."""
        listed = self._listed(prefix)
        latest = {blob.name.rsplit("/", 1)[0]: blob.name for blob in _replacements(listed)}
        shown = [
            blob for blob in listed if not is_replacement(blob.name) or blob.name in latest.values()
        ]
        return tuple(Blob(blob.name, int(blob.size or 0), str(blob.generation)) for blob in shown)

    def _listed(self, prefix: str) -> list[storage.Blob]:
        return list(self._client.list_blobs(self._bucket, prefix=f"{prefix}/", **self._options))

    def _read(self, key: str) -> bytes | None:
        try:
            data: bytes = self._bucket.blob(key).download_as_bytes(
                checksum="crc32c", **self._options
            )
        except NotFound:
            return None
        return data

    def _write(self, key: str, data: bytes) -> None:
        kind = "application/json" if key.endswith(".json") else "application/octet-stream"
        self._bucket.blob(key).upload_from_string(
            data, content_type=kind, checksum="crc32c", **self._options
        )

    def _replace(self, prefix: str, files: dict[str, bytes]) -> None:
        """Write one replacement with all files, which counts at once, then each file by name."""
        if not all(map(is_path_part, files)):
            raise ValueError(f"not file names: {sorted(files)}")
        own = f"{prefix}/{new_replacement_name()}"
        try:
            self._write(own, packed(files))
        except Exception:
            with suppress(*FAILURES):
                self._remove(own)  # the upload may have succeeded without a response
            raise
        try:
            self._settle(prefix, own, files)
        except Exception:
            self._given_up.add(own)
            raise

    def _settle(self, prefix: str, own: str, files: dict[str, bytes]) -> None:
        """Write each file under its name, then remove the replacement, which counts until then.

        Concurrent writers, also on other machines, see each other's replacements. The latest one
        counts, and earlier writers give up. Its writer places the files only once the others have
        left. A writer that does not leave in time was killed; the replacement then stays and keeps
        counting.
        """
        until_s, is_written = time.monotonic() + MAX_PLACING_S, False
        while True:
            listed = self._listed(prefix)
            abandoned, writers = self._writers(listed)
            if own not in writers:
                return self._remove_if_deleted(prefix, writers)
            if writers[-1] != own:
                self._remove(own)
                return None
            if is_written:
                return self._remove_all([*abandoned, own])
            if time.monotonic() > until_s:
                return None
            is_written = writers == [own]
            if is_written:
                self._write_in_place(prefix, files, listed, until_s)
            else:
                time.sleep(POLL_S)

    def _remove_if_deleted(self, prefix: str, writers: list[str]) -> None:
        """Remove what was written since another process deleted the face."""
        if not writers:
            self._delete(prefix)

    def _write_in_place(
        self, prefix: str, files: dict[str, bytes], listed: list[storage.Blob], until_s: float
    ) -> None:
        for name in sorted(files, key=lambda name: name == METADATA):
            if time.monotonic() > until_s:  # later writers consider this one dead
                raise OSError(f"writing {prefix} took longer than {MAX_PLACING_S:g} s")
            self._write(f"{prefix}/{name}", files[name])
        kept = {f"{prefix}/{name}" for name in files}
        self._remove_all(
            blob.name for blob in listed if blob.name not in kept and not is_replacement(blob.name)
        )

    def _writers(self, listed: list[storage.Blob]) -> tuple[list[str], list[str]]:
        """Replacements of dead writers, and the others with the latest last."""
        found = _replacements(listed)
        dead = {
            blob.name
            for blob in found
            if (found[-1].time_created - blob.time_created).total_seconds() > ABANDONED_S
        }
        dead |= self._given_up.intersection(blob.name for blob in found[:-1])
        return sorted(dead), [blob.name for blob in found if blob.name not in dead]

    def _delete(self, prefix: str) -> bool:
        """Delete the metadata first, since no face exists without it, and replacements last.

        A replacement alone is a complete face.
        """
        doomed = [blob.name for blob in self._listed(prefix)] + [prefix]
        removed = [
            self._remove(key)
            for key in sorted(
                doomed, key=lambda key: (is_replacement(key), not key.endswith(f"/{METADATA}"))
            )
        ]
        return any(removed)

    def _remove_all(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._remove(key)

    def _remove(self, key: str) -> bool:
        try:
            self._bucket.blob(key).delete(**self._options)
        except NotFound:
            return False
        return True


def _client(bucket: str) -> storage.Client:
    try:
        return storage.Client()
    except (GoogleAuthError, OSError) as error:  # OSError: no project is known
        raise ConfigError(
            f"bucket {bucket!r} cannot be opened: {str(error).split(' To ')[0].rstrip('.')}; "
            f"{CREDENTIALS}"
        ) from None


def _replacements(listed: list[storage.Blob]) -> list[storage.Blob]:
    """Replacements in a listing, by the clock of the bucket, the latest last."""
    return sorted(
        (blob for blob in listed if is_replacement(blob.name)),
        key=lambda blob: (blob.time_created, blob.name),
    )


def _check(key: str) -> None:
    parts = key.split("/")
    if (
        parts[0] != ROOT
        or not 2 <= len(parts) <= (5 if is_derived(key) else 4)
        or not all(map(is_path_part, parts))
    ):
        raise ValueError(f"not a key of the face store: {key!r}")
