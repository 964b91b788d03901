"""A real Chromium and the real service for the page's tests, both started once per file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright
from serving import serve

PATIENCE_MS = 120_000
"""Limit for what must happen at all; the page measures how fast it happens."""

expect.set_options(timeout=PATIENCE_MS)

QUIET_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Run as root, without a screen, and without calls to the browser's vendor."""


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
        browsers.append(
            playwright.chromium.launch(
                executable_path=chromium, args=[*QUIET_FLAGS, *flags], timeout=PATIENCE_MS
            )
        )
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
    context.set_default_timeout(PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the real service with its embedded Triton."""
    with serve(tmp_path_factory.mktemp("storage")) as (url, _process):
        yield f"{url}/"
