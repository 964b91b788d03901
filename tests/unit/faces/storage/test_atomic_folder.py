"""A face in a folder is replaced in one step for everybody, and what a killed process left behind
does not stay.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from orchestrator.faces.storage.atomic_folder import STALE_S
from orchestrator.faces.storage.layout import Blob, face_prefix
from orchestrator.faces.storage.local_folder import LocalFaceStore

PREFIX = face_prefix("ann", "f")
FILES = {"metadata.json": b"{}", "neutral_pose.jpg": b"her photo"}


class Killed(BaseException):
    """The process ends here: it handles nothing any more."""


CHANGES: dict[str, Callable[[LocalFaceStore], Awaitable[object]]] = {
    "listing": lambda store: store.blobs("face-models/bob"),
    "replacing": lambda store: store.replace(face_prefix("bob", "g"), FILES),
    "writing": lambda store: store.write("face-models/bob/active_model.json", b"{}"),
    "deleting": lambda store: store.delete(face_prefix("bob", "g")),
}


def left_behind(folder: Path) -> list[Path]:
    return list((folder / ".incoming").iterdir())


def killed_while_replacing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(path: Path, target: Path) -> Path:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "rename", kill)
        LocalFaceStore(folder)._replace(PREFIX, FILES)


def killed_while_deleting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(path: str, **options: object) -> None:
        raise Killed

    store = LocalFaceStore(folder)
    store._replace(PREFIX, FILES)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr("shutil.rmtree", kill)
        store._delete(PREFIX)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("killed", [killed_while_replacing, killed_while_deleting])
async def test_what_a_killed_process_left_of_a_face_is_removed_by_the_next_that_uses_the_folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed: Callable[[Path, pytest.MonkeyPatch], None],
    change: Callable[[LocalFaceStore], Awaitable[object]],
) -> None:
    killed(tmp_path, monkeypatch)
    (left,) = left_behind(tmp_path)
    assert (left / "neutral_pose.jpg").read_bytes() == b"her photo"
    await change(LocalFaceStore(tmp_path))
    assert left_behind(tmp_path) == [left], "another process may be at work on it"
    long_ago_s = time.time() - STALE_S - 1.0
    os.utime(left, (long_ago_s, long_ago_s))
    await change(LocalFaceStore(tmp_path))
    assert left_behind(tmp_path) == []


async def test_the_folder_is_swept_again_and_again_and_not_at_every_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now_s = LocalFaceStore(tmp_path), 1000.0
    monkeypatch.setattr("orchestrator.faces.storage.atomic_folder.time.monotonic", lambda: now_s)
    for later_s, stays in ((0.0, False), (STALE_S / 2, True), (STALE_S / 2, False)):
        now_s += later_s
        left = tmp_path / ".incoming" / "left"
        left.mkdir(parents=True, exist_ok=True)
        os.utime(left, (0.0, 0.0))
        await store.blobs(PREFIX)
        assert left.exists() is stays


class SlowSwap(LocalFaceStore):
    """Stops between the two renames of a replacement."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.is_between, self.goes_on = threading.Event(), threading.Event()
        take_away = self._incoming._take_away

        def slow(path: Path) -> Path | None:
            doomed = take_away(path)
            self.is_between.set()
            self.goes_on.wait()
            return doomed

        self._incoming._take_away = slow  # type: ignore[method-assign]


async def test_a_face_that_is_being_replaced_is_never_not_there(tmp_path: Path) -> None:
    await LocalFaceStore(tmp_path).replace(PREFIX, FILES)
    store = SlowSwap(tmp_path)
    replacing = asyncio.create_task(store.replace(PREFIX, {"metadata.json": b"new"}))
    await asyncio.to_thread(store.is_between.wait)
    looking = [asyncio.create_task(store.blobs(prefix)) for prefix in (PREFIX, "face-models/ann")]
    await asyncio.wait(looking, timeout=0.2)
    store.goes_on.set()
    await replacing
    for look in looking:
        assert [blob.size_bytes for blob in await look] == [3]


async def test_a_replacement_that_fails_at_its_last_step_leaves_the_old_face_and_nothing_of_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, rename = LocalFaceStore(tmp_path), Path.rename
    await store.replace(PREFIX, FILES)

    def fail(path: Path, target: Path) -> Path:
        if path.parent.name == ".incoming" and (path / "new.json").exists():
            raise OSError(errno.EIO, "the disk failed")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="the disk failed"):
        await store.replace(PREFIX, {"new.json": b"1"})
    assert await store.read(f"{PREFIX}/neutral_pose.jpg") == b"her photo"
    assert left_behind(tmp_path) == []


async def test_processes_that_replace_a_face_at_once_do_not_fail_for_each_other(
    tmp_path: Path,
) -> None:
    first, second = SlowSwap(tmp_path), SlowSwap(tmp_path)
    asking = [
        asyncio.create_task(store.replace(PREFIX, {"a.json": b"1"})) for store in (first, second)
    ]
    await asyncio.to_thread(lambda: (first.is_between.wait(), second.is_between.wait()))
    first.goes_on.set()
    second.goes_on.set()
    await asyncio.gather(*asking)
    assert [blob.key for blob in await first.blobs(PREFIX)] == [f"{PREFIX}/a.json"]
    assert left_behind(tmp_path) == []


async def test_folders_that_vanish_while_they_are_listed_are_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, scandir = LocalFaceStore(tmp_path), os.scandir
    await store.replace(PREFIX, FILES)
    await store.replace(face_prefix("ann", "g"), FILES)

    def vanishing(path: str | Path) -> os.ScandirIterator[str]:  # type: ignore[name-defined]
        if str(path).endswith("/ann/f") and Path(path).exists():
            Path(path).rename(tmp_path / "elsewhere")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    found: tuple[Blob, ...] = await store.blobs("face-models/ann")
    assert [blob.key.split("/")[2] for blob in found] == ["g", "g"]
