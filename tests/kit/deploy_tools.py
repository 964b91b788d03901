"""Validators and servers for the deployment's files: installed programs, or a skip that says how to
get them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from project_root import ROOT as ROOT

DEPLOY: Final = ROOT / "deploy"

DEBIAN: Final = "apt-get install --no-install-recommends"
HOW: Final = {
    "promtool": f"{DEBIAN} prometheus",
    "prometheus": f"{DEBIAN} prometheus",
    "amtool": f"{DEBIAN} prometheus-alertmanager",
    "prometheus-alertmanager": f"{DEBIAN} prometheus-alertmanager",
    "haproxy": f"{DEBIAN} haproxy",
    "node": f"{DEBIAN} nodejs npm",
}
"""Where a program comes from; all others are Python packages of requirements/deploy.txt."""

STOP_S: Final = 60.0
"""Longest that a server may take for its end by SIGTERM."""


def tool(name: str) -> str:
    """Path of a program from this interpreter's environment or PATH. Skips the test where there is
    none.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(
            f"{name} is not installed: {HOW.get(name, 'pip install -r requirements/deploy.txt')}"
        )
    return found


def run(
    *command: str, stdin: str | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program found by `tool`; the result has its exit status and both outputs as text."""
    return subprocess.run(
        [tool(command[0]), *command[1:]],
        input=stdin,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def accepted(*command: str, stdin: str | None = None, cwd: Path | None = None) -> str:
    """Standard output of a program that has to succeed."""
    done = run(*command, stdin=stdin, cwd=cwd)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}{done.stderr[-3000:]}"
    return done.stdout


def from_package(name: str) -> Any:
    """A module of requirements/deploy.txt. Skips the test where it is not installed."""
    return pytest.importorskip(
        name, reason=f"{name} is not installed: pip install -r requirements/deploy.txt"
    )


@contextmanager
def running(log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server found by `tool`, its output in `log`; ended by `stop`."""
    with log.open("w") as output:
        process = subprocess.Popen([tool(command[0]), *command[1:]], stdout=output, stderr=output)
        try:
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process by SIGTERM, and by SIGKILL after `STOP_S` seconds."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
