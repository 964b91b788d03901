"""Identity of served networks: the bytes that were loaded, not files that changed afterwards."""

from __future__ import annotations

import os

from orchestrator.inference.local.inference import LocalInference
from orchestrator.inference.model_contract import Repository
from orchestrator.inference.triton.inference import TritonInference


async def test_a_served_network_has_the_identity_of_its_file_until_that_changes(
    inference: TritonInference, repository: Repository
) -> None:
    expected = await LocalInference(repository).identity("audio2motion")
    assert expected is not None
    assert await inference.identity("audio2motion") == expected
    file = repository.models["audio2motion"].file
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    try:
        assert await inference.identity("audio2motion") is None
    finally:
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert await inference.identity("audio2motion") == expected
