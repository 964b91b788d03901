"""What is sent up is bounded by caller and in all, and nobody waits for another's."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from virtual_time import run_virtual

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.server.http.uploads import MAX_UPLOADS, Uploads


def test_a_callers_further_uploads_wait_for_its_own_alone() -> None:
    async def scenario() -> None:
        uploads = Uploads()
        async with AsyncExitStack() as ann:
            for _ in range(MAX_UPLOADS):
                await ann.enter_async_context(uploads.place("ann"))
            async with asyncio.timeout(1.0), uploads.place("bob"):
                pass
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.0), uploads.place("ann"):
                    pass
        async with asyncio.timeout(1.0), uploads.place("ann"):
            pass

    run_virtual(scenario())


def test_all_uploads_together_hold_so_many_bytes_and_give_them_back() -> None:
    async def scenario() -> None:
        uploads = Uploads(max_bytes=100)
        async with uploads.place("ann") as first, uploads.place("bob") as second:
            first.take(60)
            second.take(40)
            with pytest.raises(LipSyncError) as refused:
                second.take(1)
        assert refused.value.code is LipSyncErrorCode.SESSION_LIMIT
        assert refused.value.details["retryAfterS"] > 0
        async with uploads.place("ann") as upload:
            upload.take(100)

    run_virtual(scenario())
