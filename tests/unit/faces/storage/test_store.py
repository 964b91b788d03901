"""Storage holds what was written, whole, inside its root, and never loses the face that ships."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.faces.ids import check_id
from orchestrator.faces.storage.builtin_faces import BuiltinFaces
from orchestrator.faces.storage.layout import active_model_key, face_prefix
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.faces.storage.replacement import new_replacement_name, version_of

PREFIX = face_prefix("ann", "f")


async def test_files_come_back_and_absent_ones_are_none(tmp_path: Path) -> None:
    store = LocalFaceStore(tmp_path)
    assert await store.read(f"{PREFIX}/metadata.json") is None
    assert await store.blobs(PREFIX) == ()
    await store.replace(PREFIX, {"metadata.json": b"{}", "keypoints.json": b"[]"})
    assert await store.read(f"{PREFIX}/metadata.json") == b"{}"
    listing = [(blob.key, blob.size_bytes) for blob in await store.blobs(PREFIX)]
    assert listing == [(f"{PREFIX}/keypoints.json", 2), (f"{PREFIX}/metadata.json", 2)]
    assert await store.read(PREFIX) is None


async def test_replacing_leaves_no_old_file_and_nothing_half_written(tmp_path: Path) -> None:
    store = LocalFaceStore(tmp_path)
    await store.replace(PREFIX, {"a.json": b"1", "b.json": b"1"})
    await store.replace(PREFIX, {"b.json": b"22"})
    assert [blob.key for blob in await store.blobs(PREFIX)] == [f"{PREFIX}/b.json"]
    assert list((tmp_path / ".incoming").iterdir()) == []


async def test_the_version_changes_with_every_write_even_of_equal_bytes(tmp_path: Path) -> None:
    store = LocalFaceStore(tmp_path)
    versions = set()
    for data in (b"1", b"1", b"2"):
        await store.replace(PREFIX, {"a.json": data})
        versions.add(version_of(await store.blobs(PREFIX)))
    await store.write(f"{PREFIX}/b.json", b"")
    versions.add(version_of(await store.blobs(PREFIX)))
    assert len(versions) == 4
    assert version_of(await store.blobs(PREFIX)) == version_of(await store.blobs(PREFIX))


async def test_the_version_of_a_face_that_is_being_replaced_is_that_of_its_replacement(
    tmp_path: Path,
) -> None:
    store, whole = LocalFaceStore(tmp_path), f"{PREFIX}/{new_replacement_name()}"
    await store.replace(PREFIX, {"a.json": b"1"})
    await store.write(whole, b"2")
    versions = {version_of(await store.blobs(PREFIX))}
    await store.write(f"{PREFIX}/a.json", b"2")
    versions.add(version_of(await store.blobs(PREFIX)))
    assert len(versions) == 1
    await store.delete(whole)
    assert version_of(await store.blobs(PREFIX)) not in versions


async def test_concurrent_writers_of_one_face_leave_one_whole_face(tmp_path: Path) -> None:
    store = LocalFaceStore(tmp_path)
    await asyncio.gather(
        *(store.replace(PREFIX, {"a.json": b"%d" % n, "b.json": b"%d" % n}) for n in range(8))
    )
    assert await store.read(f"{PREFIX}/a.json") == await store.read(f"{PREFIX}/b.json")
    assert list((tmp_path / ".incoming").iterdir()) == []


async def test_deleting_says_whether_there_was_something(tmp_path: Path) -> None:
    store = LocalFaceStore(tmp_path)
    await store.write(active_model_key("ann"), b"{}")
    await store.replace(PREFIX, {"a.json": b"1"})
    assert await store.delete(PREFIX) is True
    assert await store.delete(PREFIX) is False
    assert await store.delete(active_model_key("ann")) is True
    assert await store.blobs("face-models/ann") == ()


@pytest.mark.parametrize(
    "key",
    (
        *(
            "",
            "face-models",
            "other/ann",
            "face-models/../x",
            "face-models/ann/../../x",
            "/etc/passwd",
            "face-models//x",
        ),
        *(
            "face-models/a/b/c/d",
            "face-models/ann/f/a b",
            "face-models/ann\0",
            "face-models/.",
            "..",
            "face-models\\ann",
        ),
    ),
)
async def test_a_key_that_is_none_touches_no_path(tmp_path: Path, key: str) -> None:
    store = LocalFaceStore(tmp_path / "root")
    with pytest.raises(ValueError, match="key"):
        await store.read(key)
    with pytest.raises(ValueError, match="key"):
        await store.write(key, b"")
    with pytest.raises(ValueError, match="key"):
        await store.delete(key)
    assert not (tmp_path / "root").exists()


async def test_a_link_out_of_the_root_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "metadata.json").write_bytes(b"secret")
    (tmp_path / "root" / "face-models" / "ann").mkdir(parents=True)
    (tmp_path / "root" / "face-models" / "ann" / "f").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="leaves the store"):
        await LocalFaceStore(tmp_path / "root").read(f"{PREFIX}/metadata.json")


async def test_the_shipped_face_is_always_there_and_cannot_be_changed(tmp_path: Path) -> None:
    shipped, own = LocalFaceStore(tmp_path / "shipped"), LocalFaceStore(tmp_path / "own")
    demo = face_prefix("demo", "demo")
    await shipped.replace(demo, {"metadata.json": b"shipped"})
    await shipped.write(active_model_key("demo"), b"shipped active")
    await own.replace(demo, {"metadata.json": b"forged", "extra.json": b"forged"})
    store = BuiltinFaces(own, shipped)
    assert await store.read(f"{demo}/metadata.json") == b"shipped"
    assert await store.read(f"{demo}/extra.json") is None
    assert [blob.key for blob in await store.blobs(demo)] == [f"{demo}/metadata.json"]
    for refused in (
        store.replace(demo, {}),
        store.delete(demo),
        store.write(f"{demo}/metadata.json", b""),
    ):
        with pytest.raises(LipSyncError, match="faceModelId") as caught:
            await refused
        assert caught.value.code is LipSyncErrorCode.INVALID_MESSAGE


async def test_the_demo_user_may_add_faces_beside_the_shipped_one_and_other_users_see_only_their_own(
    tmp_path: Path,
) -> None:
    shipped, own = LocalFaceStore(tmp_path / "shipped"), LocalFaceStore(tmp_path / "own")
    await shipped.replace(face_prefix("demo", "demo"), {"metadata.json": b"shipped"})
    await shipped.write(active_model_key("demo"), b"shipped active")
    store = BuiltinFaces(own, shipped)
    await store.replace(face_prefix("demo", "mine"), {"metadata.json": b"mine"})
    await store.replace(PREFIX, {"metadata.json": b"ann's"})
    keys = [blob.key for blob in await store.blobs("face-models/demo")]
    assert [key.split("/")[2] for key in keys] == ["active_model.json", "demo", "mine"]
    assert await store.read(active_model_key("demo")) == b"shipped active"
    await store.write(active_model_key("demo"), b"own active")
    assert await store.read(active_model_key("demo")) == b"own active"
    assert [blob.key for blob in await store.blobs("face-models/ann")] == [
        f"{PREFIX}/metadata.json"
    ]


@pytest.mark.parametrize("good", ["a", "session-123", "A.b_c-9", "x" * 128, "..."])
def test_an_id_is_returned_as_it_is(good: str) -> None:
    assert check_id(good, "userId") == good


@pytest.mark.parametrize(
    "bad",
    [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "x" * 129,
        "é",
        "a b",
        "a\n",
        "a\0",
        "%2e%2e",
        None,
        7,
        ["a"],
        "active_model.json",
    ],
)
def test_anything_else_is_refused_with_the_field_named(bad: object) -> None:
    with pytest.raises(LipSyncError, match="faceModelId") as caught:
        check_id(bad, "faceModelId")
    assert caught.value.code is LipSyncErrorCode.INVALID_MESSAGE
    assert caught.value.details == {"field": "faceModelId"}
