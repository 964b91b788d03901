"""Checks of the process environment: shared memory, temporary folder, descriptors, threads."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Final

from orchestrator.cli.doctor.check import Check, State, checked
from orchestrator.cli.process_limits import (
    MIN_DESCRIPTORS,
    THREADS,
    THREADS_FIX,
    allowed_descriptors,
    startable_threads,
)
from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError
from orchestrator.inference.embedded.environment import check_temporary_folder
from orchestrator.inference.embedded.run_lock import (
    SHM,
    TEMPORARY_REMEDY,
    RunLock,
    check_shared_memory,
    temporary_parent,
)

SHM_MIB: Final = 128
"""One slot ring of 48 MiB, the server's own segments, and room for a restart."""

TEMPORARY_MIB: Final = 256
"""Two recordings of `max_render_s` at 384 kB a second, as many as are rendered at once."""

SUGGESTED_DESCRIPTORS: Final = 4096
"""Smallest limit that a fix suggests."""


def shared_memory(config: ServiceConfig) -> Check:
    """Free shared memory.

    Tensors pass through it. With too little they pass as bytes, and the server may not start.
    """
    name = "shared memory"
    try:
        check_shared_memory()
        RunLock().release()
    except LipSyncError as error:  # its message says what to do
        return Check(name, State.MISSING, error.message)
    free_mib = shutil.disk_usage(SHM).free >> 20
    return checked(
        name,
        free_mib >= SHM_MIB,
        f"{free_mib} MiB free in {SHM}",
        f"mount -o remount,size=1g {SHM}",
    )


def temporary_folder(config: ServiceConfig) -> Check:
    """Free space of the temporary folder.

    Runs, recordings and renderings keep files in it for a while; the server also has a folder in
    `/tmp`.
    """
    name = "temporary folder"
    try:
        check_temporary_folder()
        folder = temporary_parent()
    except LipSyncError as error:  # its message says what to do
        return Check(name, State.MISSING, error.message)
    free_mib = shutil.disk_usage(folder).free >> 20
    return checked(
        name,
        free_mib >= TEMPORARY_MIB,
        f"{free_mib} MiB free in {folder}",
        TEMPORARY_REMEDY,
        optional=True,
    )


def open_files(config: ServiceConfig) -> Check:
    """File descriptors for connections and for the service's own files."""
    allowed = allowed_descriptors()
    wanted = max(MIN_DESCRIPTORS, 2 * config.max_concurrent_sessions)
    return checked(
        "open files",
        allowed >= wanted,
        f"{allowed} at once",
        f"ulimit -n {max(SUGGESTED_DESCRIPTORS, wanted)}",
        optional=allowed >= MIN_DESCRIPTORS,
    )


def threads(config: ServiceConfig) -> Check:
    """Threads for all processes of a service with the built-in models."""
    started = startable_threads()
    finding = (
        f"{THREADS} can be started"
        if started == THREADS
        else f"only {started} can be started, and {THREADS} are needed"
    )
    return checked("threads", started == THREADS, finding, THREADS_FIX)


ENVIRONMENT: Final[tuple[Callable[[ServiceConfig], Check], ...]] = (
    shared_memory,
    temporary_folder,
    open_files,
    threads,
)
