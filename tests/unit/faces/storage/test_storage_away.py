"""Sessions while the face storage does not respond.

A session whose face is in memory waits half a second once, and then not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from face_packages import package, put
from virtual_time import run_virtual

from orchestrator.core.errors import LipSyncError
from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.faces.revalidation import PATIENCE_S
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.builtin_faces import BuiltinFaces
from orchestrator.faces.storage.circuit_breaker import (
    AWAY_AFTER_S,
    GRACE_S,
    MAX_CALLS_PER_USER,
    PROBE_S,
    CircuitBreakerStore,
)
from orchestrator.faces.storage.errors import ErrorTranslatingStore
from orchestrator.faces.storage.layout import (
    DEMO_FACE,
    DEMO_USER,
    Blob,
    active_model_key,
    face_prefix,
)
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.faces.storage.store import FaceStore

GIVES_UP_S = 12.0


class SilentStore(LocalFaceStore):
    """Local folder with a delay, or one that fails after `GIVES_UP_S` while `is_silent`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.takes_s = 0.0
        self.is_silent = False
        self.asked: list[str] = []

    async def blobs(self, prefix: str) -> tuple[Blob, ...]:
        await self._answer(prefix)
        return await super().blobs(prefix)

    async def read(self, key: str) -> bytes | None:
        await self._answer(key)
        return await super().read(key)

    async def replace(self, prefix: str, files: Mapping[str, bytes]) -> None:
        await self._answer(prefix)
        await super().replace(prefix, files)

    async def _answer(self, key: str) -> None:
        self.asked.append(key)
        await asyncio.sleep(GIVES_UP_S if self.is_silent else self.takes_s)
        if self.is_silent:
            raise OSError("no answer")


class Stage:
    """A service over such a store, with face `f` of `ann` in memory as the active one."""

    def __init__(self, folder: Path) -> None:
        self.own = SilentStore(folder)
        self.watched = CircuitBreakerStore(self.own, face_prefix(DEMO_USER, DEMO_FACE))
        builtin = BuiltinFaces(self.watched, LocalFaceStore(SHIPPED_FACES))
        self.store: FaceStore = ErrorTranslatingStore(builtin)
        self.faces = FaceModelCacheService(self.store)

    async def took_s(self, call: Awaitable[object]) -> float:
        began_s = asyncio.get_running_loop().time()
        await call
        return asyncio.get_running_loop().time() - began_s

    async def until_away(self) -> None:
        self.own.is_silent = True
        await self.faces.load_face_model("ann", "f")
        await asyncio.sleep(AWAY_AFTER_S)
        assert self.watched.is_away


def on_stage(folder: Path, script: Callable[[Stage], Awaitable[None]]) -> None:
    async def play() -> None:
        stage = Stage(folder)
        await put(stage.store, "ann", "f", package())
        await stage.store.write(active_model_key("ann"), b'{"activeModelId": "f"}')
        await stage.faces.load_face_model("ann")
        try:
            await script(stage)
        finally:
            await stage.faces.close()
            await stage.store.close()

    run_virtual(play())


@pytest.mark.parametrize("model_id", ["f", None], ids=["named", "the active one"])
def test_a_face_in_memory_waits_half_a_second_for_a_silent_storage_and_not_at_all_once_it_is_away(
    tmp_path: Path, model_id: str | None
) -> None:
    async def script(stage: Stage) -> None:
        face = await stage.faces.load_face_model("ann", "f")
        stage.own.is_silent = True
        assert await stage.took_s(stage.faces.load_face_model("ann", model_id)) == pytest.approx(
            PATIENCE_S
        )
        await asyncio.sleep(AWAY_AFTER_S)
        assert await stage.took_s(stage.faces.load_face_model("ann", model_id)) == 0.0
        await asyncio.sleep(2 * GIVES_UP_S)
        assert await stage.took_s(stage.faces.load_face_model("ann", model_id)) == 0.0
        assert await stage.faces.load_face_model("ann", model_id) is face

    on_stage(tmp_path, script)


def test_a_face_that_is_not_in_memory_is_refused_at_once_while_the_storage_is_away_and_loaded_when_it_is_back(
    tmp_path: Path,
) -> None:
    async def script(stage: Stage) -> None:
        await put(stage.store, "ann", "g", package())
        await stage.until_away()
        loop = asyncio.get_running_loop()
        began_s, asked = loop.time(), len(stage.own.asked)
        for call in (
            stage.faces.load_face_model("ann", "g"),
            stage.faces.list_face_models("ann"),
            stage.store.replace("face-models/ann/h", {}),
        ):
            with pytest.raises(OSError, match="does not answer"):
                await call
        assert (loop.time(), len(stage.own.asked)) == (began_s, asked)
        stage.own.is_silent = False
        await asyncio.sleep(GIVES_UP_S + PROBE_S)
        assert (await stage.faces.load_face_model("ann", "g")).id == "g"

    on_stage(tmp_path, script)


def test_who_waits_for_a_silent_storage_is_told_in_seconds_and_a_hiccup_costs_nobody_the_face(
    tmp_path: Path,
) -> None:
    async def script(stage: Stage) -> None:
        loop = asyncio.get_running_loop()
        await put(stage.store, "ann", "g", package())
        stage.own.takes_s = AWAY_AFTER_S + GRACE_S / 2
        asking = asyncio.create_task(stage.faces.load_face_model("ann", "g"))
        await asyncio.sleep(AWAY_AFTER_S + GRACE_S / 4)
        stage.own.takes_s = 0.0
        assert (await asking).id == "g"
        stage.own.is_silent, began_s = True, loop.time()
        with pytest.raises(LipSyncError, match="no response within") as caught:
            await stage.faces.load_face_model("ann", "h")
        assert caught.value.recoverable
        assert loop.time() - began_s == pytest.approx(AWAY_AFTER_S + GRACE_S)

    on_stage(tmp_path, script)


def test_while_it_is_away_one_probe_asks_whether_it_is_back(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        await stage.until_away()
        stage.own.asked.clear()
        for _ in range(60):
            await stage.faces.load_face_model("ann")
            await asyncio.sleep(1.0)
        assert set(stage.own.asked) == {face_prefix(DEMO_USER, DEMO_FACE)}
        assert len(stage.own.asked) <= 60.0 / PROBE_S

    on_stage(tmp_path, script)


def test_what_a_slow_storage_says_late_counts_for_who_comes_then(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        await put(stage.store, "ann", "f", package(side=300))
        stage.own.takes_s = 1.2
        assert (await stage.faces.load_face_model("ann", "f")).resolution.width == 256
        await asyncio.sleep(1.0)
        assert (await stage.faces.load_face_model("ann", "f")).resolution.width == 300

    on_stage(tmp_path, script)


def test_a_face_that_changed_is_waited_for_when_the_storage_says_so_in_time(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        await put(stage.store, "ann", "f", package(side=300))
        stage.own.takes_s = 0.9 * PATIENCE_S
        assert (await stage.faces.load_face_model("ann", "f")).resolution.width == 300

    on_stage(tmp_path, script)


def test_the_face_that_was_enrolled_just_now_speaks_though_the_storage_is_slow(
    tmp_path: Path,
) -> None:
    async def script(stage: Stage) -> None:
        stage.own.takes_s = 1.2
        asking = asyncio.create_task(stage.faces.load_face_model("ann", "f"))
        await asyncio.sleep(0.1)
        await LocalFaceStore(tmp_path).replace(face_prefix("ann", "f"), package(side=300))
        enrolled = await FaceModelCacheService(LocalFaceStore(tmp_path)).load_face_model("ann", "f")
        stage.faces.hold(enrolled)
        await asking
        await asyncio.sleep(2.0)
        assert await stage.faces.load_face_model("ann", "f") is enrolled

    on_stage(tmp_path, script)


def test_the_face_that_comes_with_the_package_does_not_wait_for_the_storage(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.own.is_silent = True
        stage.own.asked.clear()
        assert await stage.took_s(stage.faces.load_face_model(DEMO_USER, DEMO_FACE)) == 0.0
        assert stage.own.asked == []

    on_stage(tmp_path, script)


def test_a_storage_that_answers_others_is_not_away_because_one_call_takes_long(
    tmp_path: Path,
) -> None:
    async def script(stage: Stage) -> None:
        stage.own.takes_s = 2 * AWAY_AFTER_S
        asking = asyncio.create_task(stage.store.blobs("face-models/bob"))
        await asyncio.sleep(AWAY_AFTER_S / 2)
        stage.own.takes_s = 0.0
        await stage.store.blobs("face-models/ann")
        await asyncio.sleep(AWAY_AFTER_S)
        assert not stage.watched.is_away
        assert await asking == ()

    on_stage(tmp_path, script)


def test_one_user_s_calls_leave_room_in_the_line_for_others(tmp_path: Path) -> None:
    async def script(stage: Stage) -> None:
        stage.own.takes_s = 1.0
        names = [f"x{number}" for number in range(2 * MAX_CALLS_PER_USER)]
        asking = asyncio.gather(
            *(stage.faces.load_face_model("eve", name) for name in names), return_exceptions=True
        )
        assert await stage.took_s(stage.faces.list_face_models("ann")) == 1.0
        refused = [
            error
            for error in await asking
            if isinstance(error, LipSyncError) and error.details.get("storage") == "away"
        ]
        assert len(refused) == MAX_CALLS_PER_USER
        assert await stage.faces.list_face_models("eve") == ()

    on_stage(tmp_path, script)
