"""A storage that hangs takes the faces that nobody has loaded yet; it takes no frame from those who
speak.
"""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import aiohttp
import pytest
from http_service import http_service
from live_service import picture_of
from ws_client import connect, syllables

from orchestrator.faces.storage.layout import Blob
from orchestrator.faces.storage.local_folder import LocalFaceStore

LARGE = {"resolution": {"width": 512, "height": 512}}
"""Pictures that are coded in a thread."""

CALLERS = 60
"""More than any machine's own pool of threads here has room for."""


async def test_large_pictures_go_on_while_the_storage_hangs_for_everybody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, stored = threading.Event(), LocalFaceStore._blobs

    def hanging(store: LocalFaceStore, prefix: str) -> tuple[Blob, ...]:
        if "/caller-" in prefix:
            goes_on.wait()
        return stored(store, prefix)

    monkeypatch.setattr(LocalFaceStore, "_blobs", hanging)
    async with (
        http_service(tmp_path) as url,
        aiohttp.ClientSession() as http,
        connect(url) as client,
    ):
        asking = [
            asyncio.create_task(http.get(f"{url}/v1/users/caller-{number}/face-models"))
            for number in range(CALLERS)
        ]
        await asyncio.sleep(0.1)
        try:
            await client.speak(syllables(1.0), config=LARGE)
            await client.until("response_end")
        finally:
            goes_on.set()
            answers = await asyncio.gather(*asking)
    assert len(client.frames()) == 20
    assert picture_of(client.frames()[0]).shape == (512, 512, 3)
    assert {answer.status for answer in answers} <= {200, 503}
