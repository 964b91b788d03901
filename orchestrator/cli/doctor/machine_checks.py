"""Checks of the machine: interpreter, codecs, port, CPU, GPU, disk and browser."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from orchestrator.cli.doctor.check import Check, State, checked
from orchestrator.core.config import ServiceConfig
from orchestrator.core.downloads import downloads_folder

PYTHONS: Final = ((3, 11), (3, 12), (3, 13))
"""Supported versions."""

CORES: Final = 2
ENCODERS: Final = ("libx264", "aac")
DECODERS: Final = ("libopus",)
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")

NVIDIA_SMI_TIMEOUT_S: Final = 20.0


def python(config: ServiceConfig) -> Check:
    """The Python version."""
    version = ".".join(map(str, sys.version_info[:3]))
    return checked(
        "Python", sys.version_info[:2] in PYTHONS, version, "make install PYTHON=python3.11"
    )


def disk(config: ServiceConfig) -> Check:
    """Disk use of the installation: all packages of this environment, and the fetched files."""
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
    """Codecs of the installed PyAV."""
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
    """The address to listen on."""
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


def cores(config: ServiceConfig) -> Check:
    """CPU cores of this process."""
    count = len(os.sched_getaffinity(0))
    return checked(
        "CPU cores",
        count >= CORES,
        str(count),
        f"give it {CORES}: fewer sessions keep up otherwise",
        optional=True,
    )


def gpu(config: ServiceConfig) -> Check:
    """The GPU; the built-in model needs none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Check("GPU", State.NOTE, "none found; the built-in model needs none")
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(
        command, capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=False
    )
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
    """The browser; only tests of the demo page need one."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    finding = found or "none; only tests of the page need it"
    return checked(
        "Chromium", found is not None, finding, "apt-get install chromium", optional=True
    )
