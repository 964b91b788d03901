"""A real HAProxy in front of several instances, with the backend of docs/operations.md."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from closed_port import closed_port
from project_root import ROOT

PAGE = ROOT / "docs" / "operations.md"

FRONTEND = """
global
    maxconn 200
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend all
    bind 127.0.0.1:{port}
    default_backend lipsync
"""


def documented_backend() -> str:
    """As the page has it, but for its servers."""
    found = re.search(r"```\n(backend lipsync\n.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return "".join(
        line
        for line in found[1].splitlines(keepends=True)
        if not line.strip().startswith("server ")
    )


@contextmanager
def haproxy(folder: Path, urls: Sequence[str], backend: str) -> Iterator[str]:
    """Its address; a test that needs it is skipped where there is none."""
    program = shutil.which("haproxy")
    if program is None:
        pytest.skip("no HAProxy found; install it with: apt-get install haproxy")
    with closed_port() as port:
        servers = "".join(
            f"    server s{number} {urlsplit(url).netloc} cookie s{number}\n"
            for number, url in enumerate(urls)
        )
        file = folder / "haproxy.cfg"
        file.write_text(FRONTEND.format(port=port) + backend + servers)
    process = subprocess.Popen([program, "-db", "-f", str(file)], stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)
