"""What this machine needs to serve faces: one small check each, with the command that mends what is
missing.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.downloads import (
    FACE_LANDMARKER,
    FETCH_COMMAND,
    TRITONSERVER,
    downloads_folder,
)
from orchestrator.core.errors import LipSyncError
from orchestrator.faces.storage.layout import ROOT
from orchestrator.faces.storage.open_store import open_store
from orchestrator.inference.embedded.environment import find_server, server_environment

PYTHONS: Final = ((3, 11), (3, 12), (3, 13))

CORES: Final = 2
ENCODERS: Final = ("libx264", "aac")
DECODERS: Final = ("libopus",)
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")

BUCKET_TRIAL: Final = f"{ROOT}/lipsync-doctor"
"""Of a user that is none."""

BUCKET_MEND: Final = (
    "grant the account in use the role Storage Object User on the bucket; see "
    "docs/operations.md, Faces in a bucket"
)


class State(StrEnum):
    """How a check came out."""

    OK = "ok"
    NOTE = "note"
    """Something optional is absent."""
    MISSING = "MISSING"
    """`lipsync serve` cannot run, or not with its default model."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor's list."""

    name: str
    state: State
    finding: str
    mend: str = ""
    """The command, or the step, that mends it."""


def checked(name: str, good: bool, finding: str, mend: str, *, optional: bool = False) -> Check:
    """OK where it is `good`; else MISSING, or a note where it is optional, with what mends it."""
    if good:
        return Check(name, State.OK, finding)
    return Check(name, State.NOTE if optional else State.MISSING, finding, mend)


def python(config: ServiceConfig) -> Check:
    """The interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    return checked(
        "Python", sys.version_info[:2] in PYTHONS, version, "make install PYTHON=python3.11"
    )


def tritonserver(config: ServiceConfig) -> Check:
    """The fetched server, unless another one is named."""
    if config.triton_url:
        return Check("tritonserver", State.OK, f"not needed: {config.triton_url} is used")
    try:
        files = find_server()
    except LipSyncError as error:
        return Check(
            "tritonserver",
            State.MISSING,
            error.message,
            f"{FETCH_COMMAND} {TRITONSERVER.name} --again",
        )
    return Check(
        "tritonserver",
        State.OK,
        f"of {TRITONSERVER.distribution} {TRITONSERVER.version}, {files.server}",
    )


def server_libraries(config: ServiceConfig) -> Check:
    """The shared libraries of the server and its backend process, the shared libpython among
    them.
    """
    name = "libpython and others"
    try:
        files = find_server()
        environment = server_environment(files)
    except LipSyncError as error:
        return Check(name, State.NOTE, f"not looked at: {error.message}")
    ldd = shutil.which("ldd")
    if ldd is None:
        return Check(name, State.NOTE, "not looked at: there is no ldd", "apt-get install libc-bin")
    lost = _unresolved(ldd, files.server, environment) | _unresolved(ldd, files.stub, environment)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return checked(
        name,
        not lost,
        "not found: " + ", ".join(sorted(lost)) if lost else "found",
        f"apt-get install libpython{version}",
    )


def _unresolved(ldd: str, binary: Path, environment: dict[str, str]) -> set[str]:
    listed = subprocess.run(
        [ldd, str(binary)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=20.0,
        check=False,
    ).stdout
    return {line.split()[0] for line in listed.splitlines() if "not found" in line}


def landmark_model(config: ServiceConfig) -> Check:
    """The network that finds the points of a face; only enrolling photos needs it."""
    found = FACE_LANDMARKER.is_present()
    finding = (
        str(FACE_LANDMARKER.path())
        if found
        else "not fetched: photos cannot be enrolled, enrolled faces can be used"
    )
    return checked(
        "face landmarks", found, finding, f"{FETCH_COMMAND} {FACE_LANDMARKER.name}", optional=True
    )


def disk(config: ServiceConfig) -> Check:
    """What the installation weighs: all packages of this environment, and the fetched files."""
    packages = _bytes_below({Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")})
    fetched = _bytes_below({downloads_folder()})
    return Check(
        "disk",
        State.OK,
        f"{(packages + fetched) / 1e6:.0f} MB: packages {packages / 1e6:.0f}, fetched files "
        f"{fetched / 1e6:.0f}",
    )


def _bytes_below(folders: Iterable[Path]) -> int:
    return sum(
        file.lstat().st_size for folder in folders for file in folder.rglob("*") if file.is_file()
    )


def codecs(config: ServiceConfig) -> Check:
    """What the installed PyAV can code and decode."""
    import av

    lost = [name for name in ENCODERS if not _has_codec(name, "w")] + [
        name for name in DECODERS if not _has_codec(name, "r")
    ]
    finding = (
        f"PyAV {av.__version__} {'lacks' if lost else 'with'} "
        f"{', '.join(lost or (*ENCODERS, *DECODERS))}"
    )
    return checked(
        "codecs", not lost, finding, "pip install --force-reinstall --only-binary :all: av"
    )


def _has_codec(name: str, mode: Literal["r", "w"]) -> bool:
    from av.codec.codec import Codec, UnknownCodecError

    try:
        Codec(name, mode)
    except UnknownCodecError:
        return False
    return True


def port(config: ServiceConfig) -> Check:
    """Whether `serve` could listen."""
    name = f"port {config.port}"
    with socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            return Check(
                name,
                State.MISSING,
                f"{config.host}: {error.strerror}",
                "lipsync serve --port 0, which takes a free one",
            )
    return Check(name, State.OK, f"free on {config.host}")


def storage(config: ServiceConfig) -> Check:
    """Whether faces can be stored, or at least made room for."""
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
    """Writes, reads, lists and deletes, as serving and enrolling faces do."""
    name, key = f"bucket {config.bucket}", f"{BUCKET_TRIAL}/trial.json"
    try:
        store = open_store(config.storage, config.bucket)
        await store.write(key, b"{}")
        found = await store.read(key) is not None and bool(await store.blobs(BUCKET_TRIAL))
        await store.delete(BUCKET_TRIAL)
    except ConfigError as error:  # says itself what to do
        return Check(name, State.MISSING, str(error))
    except OSError as error:
        return Check(name, State.MISSING, str(error), BUCKET_MEND)
    finding = (
        "files can be written, read, listed and deleted"
        if found
        else "does not show what was written to it"
    )
    return checked(name, found, finding, BUCKET_MEND)


def cores(config: ServiceConfig) -> Check:
    """How many sessions to expect."""
    count = len(os.sched_getaffinity(0))
    return checked(
        "CPU cores",
        count >= CORES,
        str(count),
        f"give it {CORES}: fewer sessions keep up otherwise",
        optional=True,
    )


def gpu(config: ServiceConfig) -> Check:
    """The built-in model needs none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Check("GPU", State.NOTE, "none found; the built-in model needs none")
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20.0, check=False)
    lines = answer.stdout.strip().splitlines()
    works = answer.returncode == 0 and bool(lines)
    return checked(
        "GPU",
        works,
        "; ".join(lines) or "nvidia-smi fails",
        "nvidia-smi, to see why",
        optional=True,
    )


def chromium(config: ServiceConfig) -> Check:
    """Only the page's tests need one."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    finding = found or "none; only tests of the page need it"
    return checked(
        "Chromium", found is not None, finding, "apt-get install chromium", optional=True
    )


MACHINE: Final[tuple[Callable[[ServiceConfig], Check], ...]] = (
    python,
    tritonserver,
    server_libraries,
    codecs,
    storage,
    port,
    cores,
    landmark_model,
    disk,
    gpu,
    chromium,
)
"""In the order in which one would mend things. None of them imports numpy."""
