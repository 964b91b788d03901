"""A network's identity is that of the bytes that were loaded; where those are not known there is
none.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoded_faces import EYE, eye_repository

from orchestrator.core.metrics import Metrics
from orchestrator.inference.instrumented import TimedInference
from orchestrator.inference.local.inference import LocalInference
from orchestrator.inference.model_fingerprint import NetworkIdentities, Stamp, stamp_of
from orchestrator.inference.triton.inference import TritonInference

LOOK: dict[str, Any] = {"mel": np.zeros((1, 4, 3), np.float32)}


@dataclass(eq=False)
class LoadedServer:
    """A watched server of which only this is asked."""

    stamp: Stamp | None

    def loaded_from(self, model: str) -> Stamp | None:
        return self.stamp


async def test_equal_bytes_have_one_identity_wherever_they_lie_and_other_bytes_another(
    tmp_path: Path,
) -> None:
    found = []
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        found.append(
            await LocalInference(eye_repository(tmp_path / folder, seed=seed)).identity(EYE)
        )
    assert found[0] is not None
    assert (found[0] == found[1], found[0] == found[2]) == (True, False)


async def test_weights_beside_the_graph_count_too(tmp_path: Path) -> None:
    repository = eye_repository(tmp_path)
    weights = repository.models[EYE].version_folder / "model.onnx.data"
    weights.write_bytes(b"1")
    before = await LocalInference(repository).identity(EYE)
    weights.write_bytes(b"2")
    assert await LocalInference(repository).identity(EYE) not in (None, before)


async def test_a_file_is_read_again_only_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = eye_repository(tmp_path).models[EYE]
    identities, loaded = NetworkIdentities(), stamp_of(contract)
    first = await identities.of(contract, loaded)
    monkeypatch.setattr(Path, "open", None)
    assert await identities.of(contract, loaded) == first


async def test_a_file_that_changed_after_it_was_loaded_is_not_what_is_served(
    tmp_path: Path,
) -> None:
    async with LocalInference(eye_repository(tmp_path)) as inference:
        before = await inference.identity(EYE)
        await inference.infer(EYE, LOOK, deadline=time.monotonic() + 20)
        assert await inference.identity(EYE) == before
        eye_repository(tmp_path, seed=8)
        assert await inference.identity(EYE) is None


async def test_a_model_whose_files_are_not_here_has_no_identity(tmp_path: Path) -> None:
    repository = eye_repository(tmp_path)
    repository.models[EYE].file.unlink()
    for model in (EYE, "nobody"):
        assert await LocalInference(repository).identity(model) is None


async def test_servers_agree_on_what_they_loaded_or_nothing_is_known(tmp_path: Path) -> None:
    repository = eye_repository(tmp_path)
    stamp = stamp_of(repository.models[EYE])
    assert stamp is not None
    own = LoadedServer(stamp)
    expected = await LocalInference(repository).identity(EYE)
    for servers, identity in (
        ([own], expected),
        ([own, LoadedServer(stamp)], expected),
        ([own, LoadedServer(None)], None),
        ([LoadedServer(stamp[:0])], None),
        ([own, "127.0.0.1:1"], None),
        (["127.0.0.1:1"], None),
    ):
        found: list[Any] = servers
        assert await TritonInference(found, repository).identity(EYE) == identity


async def test_timing_passes_the_identity_on(tmp_path: Path) -> None:
    local = LocalInference(eye_repository(tmp_path))
    assert (
        await TimedInference(local, Metrics()).identity(EYE)
        == await local.identity(EYE)
        is not None
    )
