"""A real HAProxy in front of several instances, with the backend of docs/operations.md or the
configuration that is shipped.
"""

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
SHIPPED = ROOT / "deploy" / "gateway" / "haproxy.cfg"

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
def shipped_gateway(folder: Path, urls: Sequence[str]) -> Iterator[str]:
    """Address of a gateway by deploy/gateway/haproxy.cfg, on loopback, whose orchestrators are
    `urls` instead of a name's addresses.
    """
    text = SHIPPED.read_text()
    servers = "\n".join(
        f"  server o{number} {urlsplit(url).netloc}" for number, url in enumerate(urls)
    )
    text = re.sub(r"^ *server-template .*$", servers, text, flags=re.M)
    text = re.sub(
        r" resolvers dns init-addr none hash-key addr$", "", text, flags=re.M
    )  # HAProxy before 3.0 knows no hash-key
    with closed_port() as port, closed_port() as metrics_port:
        text = text.replace("bind :8000", f"bind 127.0.0.1:{port}").replace(
            "bind :8404", f"bind 127.0.0.1:{metrics_port}"
        )
    with _running(folder, text):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def haproxy(folder: Path, urls: Sequence[str], backend: str) -> Iterator[str]:
    """Its address, with this backend."""
    with closed_port() as port:
        servers = "".join(
            f"    server s{number} {urlsplit(url).netloc} cookie s{number}\n"
            for number, url in enumerate(urls)
        )
        text = FRONTEND.format(port=port) + backend + servers
    with _running(folder, text):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _running(folder: Path, text: str) -> Iterator[None]:
    """HAProxy with this configuration; a test that needs it is skipped where there is none."""
    program = shutil.which("haproxy")
    if program is None:
        pytest.skip("no HAProxy found; install it with: apt-get install haproxy")
    file = folder / "haproxy.cfg"
    file.write_text(text)
    process = subprocess.Popen(
        [program, "-db", "-f", str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)
