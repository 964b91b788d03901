"""Connections that break in mid-turn, with three orchestrators behind the gateway: each session
goes on where it stood.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator

import pytest
from compose_stack import TOKEN, Stack
from playwright.sync_api import Browser, sync_playwright
from relay import relay
from ws_client import syllables

from orchestrator.client import connect

CLIENTS = 10
AT_ONCE = 4
CUT_AFTER_FRAMES = 8
CUTS_OF_THE_PAGE = 3
PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def three(stack: Stack) -> Iterator[str]:
    """Address of the gateway before three orchestrators."""
    stack.up("--scale", "orchestrator=3", "--no-recreate")
    yield stack.url
    stack.up("--scale", "orchestrator=2", "--no-recreate")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_the_python_client_resumes_every_session(three: str, host: str) -> None:
    places = asyncio.Semaphore(AT_ONCE)
    async with asyncio.TaskGroup() as clients:
        cuts = [clients.create_task(cut_once(three, host, places)) for _ in range(CLIENTS)]
    assert [cut.result() for cut in cuts] == [(1, 1, 60)] * CLIENTS


async def cut_once(gateway: str, host: str, places: asyncio.Semaphore) -> tuple[int, int, int]:
    """Reconnections, resumptions and frames of a turn whose connection breaks once; no number is
    missing and none comes twice.
    """
    async with places:
        with relay(gateway) as wire:
            async with connect(wire.url.replace("127.0.0.1", host), TOKEN) as client:
                session = client.session(user="demo", face="demo", size=128)
                numbers = []
                async for frame in session.say(syllables(3.0)).frames():
                    numbers.append(frame.sequence_number)
                    if len(numbers) == CUT_AFTER_FRAMES:
                        await asyncio.to_thread(wire.cut)
    assert numbers == list(range(len(numbers)))
    return client.reconnections, session.resumptions, len(numbers)


@pytest.fixture
def browser() -> Iterator[Browser]:
    """The system's Chromium, as root on a machine without a screen."""
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium found; install it with: apt-get install chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"], timeout=PATIENCE_MS
        )
        yield started
        started.close()


def test_the_page_resumes_its_session_each_time(three: str, browser: Browser) -> None:
    with relay(three) as wire:
        page = browser.new_page()
        page.goto(f"{wire.url}#access_token={TOKEN}&user=demo")
        page.locator('[data-sample="how-it-works.wav"]').click(timeout=PATIENCE_MS)
        for cut in range(CUTS_OF_THE_PAGE):
            page.wait_for_function(
                f"window.lipsync.stats.turn?.framesDrawn > {20 * (cut + 1)}", timeout=PATIENCE_MS
            )
            with wire.away():
                page.wait_for_function(
                    "window.lipsync.stats.connection !== 'open'", timeout=PATIENCE_MS
                )
            page.wait_for_function(
                f"window.lipsync.stats.resumptions === {cut + 1}", timeout=PATIENCE_MS
            )
        page.wait_for_function("window.lipsync.stats.turn.metrics", timeout=PATIENCE_MS)
        seen = page.evaluate(
            "(({ problems, turn }) => [problems, turn.sequenceGaps])(window.lipsync.stats)"
        )
    assert seen == [[], 0]
