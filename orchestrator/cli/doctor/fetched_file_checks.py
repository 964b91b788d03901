"""Checks of the files that `lipsync fetch` brings: tritonserver and the face landmark model."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from orchestrator.cli.doctor.check import Check, State, checked
from orchestrator.core.config import ServiceConfig
from orchestrator.core.downloads import FACE_LANDMARKER, FETCH_COMMAND, TRITONSERVER
from orchestrator.core.errors import LipSyncError
from orchestrator.inference.embedded.environment import find_server, server_environment


def tritonserver(config: ServiceConfig) -> Check:
    """The fetched server; not needed with an external Triton."""
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
    """Shared libraries of the server and its backend process, libpython among them."""
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
    """The network that locates the points of a face; only the enrolment of photos needs it."""
    found = FACE_LANDMARKER.is_present()
    finding = (
        str(FACE_LANDMARKER.path())
        if found
        else "not fetched: photos cannot be enrolled, enrolled faces can be used"
    )
    return checked(
        "face landmarks", found, finding, f"{FETCH_COMMAND} {FACE_LANDMARKER.name}", optional=True
    )
