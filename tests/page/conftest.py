"""What the page's tests stand on: a real Chromium, and the real service, both started once per file."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "orchestrator" / "demo" / "page"

START_TIMEOUT_S = 60.0

QUIET_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Chromium as root on a machine without a screen, and without calls to its vendor."""


@pytest.fixture(scope="module")
def chromium() -> str:
    """Path of the system's browser; a test that needs it is skipped where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium found; install it with: apt-get install chromium")


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Ends with the file: its event loop must not outlive the tests that use it."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def launch(playwright: Playwright, chromium: str) -> Iterator[Callable[..., Browser]]:
    """Starts a browser with extra flags; all of them are closed at the end of the file."""
    browsers: list[Browser] = []

    def start(*flags: str) -> Browser:
        browsers.append(playwright.chromium.launch(executable_path=chromium, args=[*QUIET_FLAGS, *flags]))
        return browsers[-1]

    yield start
    for browser in browsers:
        browser.close()


@pytest.fixture(scope="module")
def browser(launch: Callable[..., Browser]) -> Browser:
    """The browser most tests share."""
    return launch()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of its own, with storage of its own."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the real service with its embedded Triton."""
    folder = tmp_path_factory.mktemp("service")
    port = _free_port()
    command = [sys.executable, "-m", "orchestrator", "serve", "--port", str(port), "--storage", str(folder / "storage")]
    environment = os.environ | {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}/"
            _wait_until_ready(url, process, folder / "log.txt")
            yield url
        finally:
            process.terminate()
            process.wait(timeout=20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}readyz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail(f"the service did not become ready:\n{log.read_text()[-3000:]}")
