"""The active face is one that is there, whatever happens to faces at once, in several processes, or
half-way.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import face_packages as made
import pytest
from overtaken_store import OvertakenStore

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.faces.active_face import settle_active
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.errors import ErrorTranslatingStore
from orchestrator.faces.storage.layout import Blob, active_model_key
from orchestrator.faces.storage.local_folder import LocalFaceStore

FACES = ("a", "b", "c", "d")
ACTIVE = active_model_key("ann")


class FailingStore(LocalFaceStore):
    """Lists no user's faces while it is told to fail."""

    is_failing = False

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        if self.is_failing and prefix == "face-models/ann":
            raise OSError("away for a moment")
        return await super().blobs(prefix)


async def stored(folder: Path, active: str) -> LocalFaceStore:
    store = LocalFaceStore(folder)
    for face in FACES:
        await made.put(store, "ann", face, made.package(128))
    await store.write(ACTIVE, b'{"activeModelId": "%s"}' % active.encode())
    return store


async def test_a_user_whose_faces_are_deleted_in_two_processes_at_once_has_no_active_face(
    tmp_path: Path,
) -> None:
    store = await stored(tmp_path, "a")
    other = FaceModelCacheService(LocalFaceStore(tmp_path))

    async def meanwhile() -> None:
        for face in ("b", "c", "d"):
            await other.delete_face_model("ann", face)

    await FaceModelCacheService(
        OvertakenStore(store, "face-models/ann", meanwhile)
    ).delete_face_model("ann", "a")
    assert await store.read(ACTIVE) is None
    with pytest.raises(LipSyncError, match="no active face model"):
        await other.load_face_model("ann")


async def test_a_face_enrolled_while_the_last_one_is_deleted_becomes_active(tmp_path: Path) -> None:
    store, other = LocalFaceStore(tmp_path), LocalFaceStore(tmp_path)
    await made.put(store, "ann", "a", made.package(128))
    await store.write(ACTIVE, b'{"activeModelId": "a"}')

    async def meanwhile() -> None:
        await made.put(other, "ann", "new", made.package(128))
        await settle_active(other, "ann", enrolled="new")

    await FaceModelCacheService(
        OvertakenStore(store, "face-models/ann", meanwhile)
    ).delete_face_model("ann", "a")
    assert (await FaceModelCacheService(other).load_face_model("ann")).id == "new"


async def test_all_faces_of_a_user_deleted_at_once_leave_nothing(tmp_path: Path) -> None:
    services = [FaceModelCacheService(await stored(tmp_path, "a")) for _ in range(2)]
    await asyncio.gather(
        *(services[number % 2].delete_face_model("ann", face) for number, face in enumerate(FACES))
    )
    assert list((tmp_path / "face-models" / "ann").iterdir()) == []


async def test_a_deletion_that_ended_half_way_is_seen_to_by_the_next_attempt(
    tmp_path: Path,
) -> None:
    await stored(tmp_path, "a")
    store = FailingStore(tmp_path)
    service = FaceModelCacheService(ErrorTranslatingStore(store))
    store.is_failing = True
    with pytest.raises(LipSyncError, match="storage"):
        await service.delete_face_model("ann", "a")
    store.is_failing = False
    with pytest.raises(LipSyncError, match="no face model 'a'"):
        await service.delete_face_model("ann", "a")
    assert await store.read(ACTIVE) == b'{"activeModelId":"b"}'


async def test_where_the_active_face_is_gone_another_one_speaks_and_becomes_active(
    tmp_path: Path,
) -> None:
    store = await stored(tmp_path, "gone")
    service = FaceModelCacheService(store)
    assert (await service.load_face_model("ann")).id == "a"
    assert await store.read(ACTIVE) == b'{"activeModelId":"a"}'
    await store.delete("face-models/ann/a")
    assert await service.active_model_id("ann") == "b"
    assert await service.preload_for_users(["ann"]) == ("ann",)


async def test_where_the_last_face_is_gone_its_user_has_no_active_one(tmp_path: Path) -> None:
    store = LocalFaceStore(tmp_path)
    await store.write(ACTIVE, b'{"activeModelId": "gone"}')
    service = FaceModelCacheService(store)
    for _ in range(2):
        with pytest.raises(LipSyncError, match="no active face model") as caught:
            await service.load_face_model("ann")
        assert caught.value.code is LipSyncErrorCode.FACE_MODEL_NOT_FOUND
    assert await store.read(ACTIVE) is None


@pytest.mark.parametrize(
    "pointer",
    [b'{"activeModelId": "gone"}', b"{", None],
    ids=["of a face that is gone", "broken", "absent"],
)
async def test_an_enrolled_face_becomes_active_where_no_face_is(
    tmp_path: Path, pointer: bytes | None
) -> None:
    store = await stored(tmp_path, "gone")
    await store.delete(ACTIVE)
    if pointer is not None:
        await store.write(ACTIVE, pointer)
    assert await settle_active(store, "ann", enrolled="c") == "c"
    assert await settle_active(store, "ann", enrolled="d") == "c"


async def test_an_active_face_that_is_being_written_stays_active(tmp_path: Path) -> None:
    store = await stored(tmp_path, "c")
    await store.delete("face-models/ann/c/metadata.json")
    service = FaceModelCacheService(store)
    await service.delete_face_model("ann", "a")
    with pytest.raises(LipSyncError, match="being written") as caught:
        await service.load_face_model("ann")
    assert caught.value.recoverable
    assert await store.read(ACTIVE) == b'{"activeModelId": "c"}'
    assert await service.list_face_models("ann") == ("b", "d")
