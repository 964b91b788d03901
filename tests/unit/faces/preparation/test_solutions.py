"""Face maps lie beside the face they were solved for, and are solved anew where they are not what
this code would solve.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from demo_face import demo_face
from virtual_time import run_virtual

from orchestrator.core.errors import LipSyncError
from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.core.types import FaceModel
from orchestrator.faces.preparation.solutions import CHECKSUM_BYTES, READ_TIMEOUT_S
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, Blob, face_prefix, is_derived
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.faces.storage.open_store import open_store
from orchestrator.models.static.adapter import Static, StaticFace
from orchestrator.models.tpsm.adapter import Tpsm, TpsmFace

ANN = face_prefix("ann", "f")
Change = Callable[[bytes], bytes]


class CountingTpsm(Tpsm):
    """Counts what it solves."""

    def __init__(self) -> None:
        self.solved: list[int] = []

    def solve(self, face: FaceModel, size: int) -> bytes:
        self.solved.append(size)
        return super().solve(face, size)


@pytest.fixture
def store(tmp_path: Path) -> LocalFaceStore:
    return LocalFaceStore(tmp_path / "faces")


async def enrolled(store: LocalFaceStore) -> None:
    """The portrait as a face of ann's."""
    folder = SHIPPED_FACES / face_prefix(DEMO_USER, DEMO_FACE)
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    files["metadata.json"] = (
        files["metadata.json"]
        .replace(b'"id": "demo"', b'"id": "f"')
        .replace(b'"userId": "demo"', b'"userId": "ann"')
    )
    await store.replace(ANN, files)


async def prepared(store: LocalFaceStore, adapter: Tpsm, size: int = 128) -> TpsmFace:
    """What a service that was started just now prepares; whatever it stores is stored."""
    service = FaceModelCacheService(store)
    found: TpsmFace = await service.optimize_for_model(
        await service.load_face_model("ann", "f"), adapter, size
    )
    await service.close()
    return found


def derived(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "faces").rglob("derived/*"))


async def test_maps_are_read_back_as_they_were_solved(
    store: LocalFaceStore, tmp_path: Path
) -> None:
    await enrolled(store)
    adapter = CountingTpsm()
    first, again = [await prepared(store, adapter) for _ in range(2)]
    assert adapter.solved == [128]
    assert again.maps.digest == first.maps.digest == again.digest.tobytes()
    for field in dataclasses.fields(first.maps):
        np.testing.assert_array_equal(
            getattr(first.maps, field.name), getattr(again.maps, field.name)
        )
    assert [path.name.split(".")[2:] for path in derived(tmp_path)] == [["128", "bin"]]


async def test_each_size_has_a_file_of_its_own(store: LocalFaceStore, tmp_path: Path) -> None:
    await enrolled(store)
    adapter = CountingTpsm()
    for size in (128, 256, 512, 256):
        assert (await prepared(store, adapter, size)).maps.size == size
    assert adapter.solved == [128, 256, 512]
    assert sum(path.stat().st_size for path in derived(tmp_path)) < 5_000_000


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"",
        lambda data: data[:1000],
        lambda data: data + b"more",
        lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
        lambda data: bytes(len(data)),
    ],
    ids=["empty", "cut off", "longer", "one bit", "zeros"],
)
async def test_a_damaged_file_is_solved_and_written_anew(
    store: LocalFaceStore, tmp_path: Path, change: Change
) -> None:
    await enrolled(store)
    adapter = CountingTpsm()
    first = await prepared(store, adapter)
    (file,) = derived(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(change(whole))
    assert (await prepared(store, adapter)).maps.digest == first.maps.digest
    assert adapter.solved == [128, 128]
    assert file.read_bytes() == whole


async def test_maps_of_another_size_under_the_name_of_this_one_are_not_used(
    store: LocalFaceStore, tmp_path: Path
) -> None:
    await enrolled(store)
    adapter = CountingTpsm()
    await prepared(store, adapter, 128)
    (file,) = derived(tmp_path)
    file.rename(file.with_name(file.name.replace(".128.", ".256.")))
    assert (await prepared(store, adapter, 256)).maps.size == 256
    assert adapter.solved == [128, 256]


async def test_other_code_solves_again_and_removes_what_the_old_one_solved(
    store: LocalFaceStore, tmp_path: Path
) -> None:
    await enrolled(store)
    adapter = CountingTpsm()
    await prepared(store, adapter)
    (before,) = derived(tmp_path)
    adapter.solution = dataclasses.replace(adapter.solution, version="newer")
    await prepared(store, adapter)
    (after,) = derived(tmp_path)
    assert adapter.solved == [128, 128]
    assert before.name != after.name


async def test_models_that_draw_from_the_same_maps_solve_them_once(store: LocalFaceStore) -> None:
    await enrolled(store)
    service, adapter = FaceModelCacheService(store), CountingTpsm()
    face = await service.load_face_model("ann", "f")
    drawn, resting = await asyncio.gather(
        service.optimize_for_model(face, adapter, 128),
        service.optimize_for_model(face, Static(), 128),
    )
    assert adapter.solved == [128]
    assert isinstance(resting, StaticFace)
    assert resting.face.maps.digest == drawn.maps.digest
    await service.close()


async def test_the_shipped_face_leaves_nothing_in_the_storage(tmp_path: Path) -> None:
    service = FaceModelCacheService(open_store(tmp_path / "faces"))
    face = await service.load_face_model(DEMO_USER, DEMO_FACE)
    found = await service.optimize_for_model(face, Tpsm(), 128)
    await service.close()
    assert found.maps.digest == Tpsm().prepare(demo_face(), 128).maps.digest
    assert not (tmp_path / "faces").exists()


class ReadOnlyStore(LocalFaceStore):
    """Maps cannot be written."""

    async def write(self, key: str, data: bytes) -> None:
        raise OSError(30, "Read-only file system", key)


async def test_a_storage_that_cannot_be_written_costs_the_solving_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, adapter = ReadOnlyStore(tmp_path / "faces"), CountingTpsm()
    await enrolled(store)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert (await prepared(store, adapter)).maps.size == 128
    assert adapter.solved == [128, 128]
    assert "cannot be stored" in caplog.text


class HangingFiles(LocalFaceStore):
    """Answers everything but what is asked of derived files."""

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        if is_derived(f"{prefix}/"):
            await asyncio.sleep(1000.0)
        return await super().blobs(prefix)


def test_a_storage_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    async def waited() -> float:
        store, loop = HangingFiles(tmp_path / "faces"), asyncio.get_running_loop()
        await enrolled(store)
        service = FaceModelCacheService(store)
        face = await service.load_face_model("ann", "f")
        began_s = loop.time()
        await service.optimize_for_model(face, Tpsm(), 128)
        took_s = loop.time() - began_s
        await service.close()
        return took_s

    assert run_virtual(waited()) == pytest.approx(READ_TIMEOUT_S)


async def test_points_that_cannot_be_solved_leave_the_bare_photo(
    store: LocalFaceStore, tmp_path: Path
) -> None:
    await enrolled(store)
    service = FaceModelCacheService(store)
    face = await service.load_face_model("ann", "f")
    flat = dataclasses.replace(
        face, keypoints=tuple(dataclasses.replace(point, x=9.0, y=9.0) for point in face.keypoints)
    )
    with pytest.raises(LipSyncError, match="cannot be used with tpsm"):
        await service.optimize_for_model(flat, Tpsm(), 128)
    assert not isinstance(await service.optimize_for_model(flat, Static(), 128), StaticFace)
    await service.close()
    assert derived(tmp_path) == []


async def test_a_file_is_the_checksum_and_the_maps(store: LocalFaceStore, tmp_path: Path) -> None:
    await enrolled(store)
    found = await prepared(store, Tpsm())
    (file,) = derived(tmp_path)
    assert file.read_bytes()[:CHECKSUM_BYTES] == found.digest.tobytes()
    assert file.read_bytes()[CHECKSUM_BYTES:] == found.blob.tobytes()
