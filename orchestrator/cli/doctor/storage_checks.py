"""Checks of the face storage: a folder, or a bucket."""

from __future__ import annotations

import asyncio
import tempfile
from typing import Final

from orchestrator.cli.doctor.check import Check, State, checked
from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.faces.storage.layout import ROOT
from orchestrator.faces.storage.open_store import open_store

BUCKET_TRIAL: Final = f"{ROOT}/lipsync-doctor"
"""Folder for the trial file; no user has this id."""

BUCKET_FIX: Final = (
    "grant the account in use the role Storage Object User on the bucket; see "
    "docs/operations.md, Faces in a bucket"
)


def storage(config: ServiceConfig) -> Check:
    """The face storage can be written to, or be created."""
    if config.bucket:
        return asyncio.run(_bucket(config))
    folder = config.storage.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Check(
            "storage",
            State.MISSING,
            f"{existing}: {error.strerror}",
            "lipsync serve --storage DIR, a folder you may write to",
        )
    return Check(
        "storage",
        State.OK,
        str(folder) if existing == folder else f"{folder}, made when the first face is stored",
    )


async def _bucket(config: ServiceConfig) -> Check:
    """Write, read, list and delete a file, as the service and the enrolment do."""
    name, key = f"bucket {config.bucket}", f"{BUCKET_TRIAL}/trial.json"
    try:
        store = open_store(config.storage, config.bucket)
        await store.write(key, b"{}")
        found = await store.read(key) is not None and bool(await store.blobs(BUCKET_TRIAL))
        await store.delete(BUCKET_TRIAL)
    except ConfigError as error:  # its message says what to do
        return Check(name, State.MISSING, str(error))
    except OSError as error:
        return Check(name, State.MISSING, str(error), BUCKET_FIX)
    finding = (
        "files can be written, read, listed and deleted"
        if found
        else "does not show what was written to it"
    )
    return checked(name, found, finding, BUCKET_FIX)
