"""A face that is enrolled anew in a bucket: file by file, and yet at no moment, and after no
failure, anything but one whole face.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest
from bucket_emulator import BUCKET, bucket_client, bucket_emulator
from face_packages import package, put
from google.api_core.exceptions import ServiceUnavailable
from stepwise_bucket import StepwiseBucketStore, side_of_whole

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage import gcs
from orchestrator.faces.storage.gcs import BucketFaceStore
from orchestrator.faces.storage.layout import derived_prefix, face_prefix

PREFIX = face_prefix("ann", "f")
FILES = ["embeddings.json", "keypoints.json", "metadata.json", "neutral_pose.jpg"]
STEPS = 8
"""Changes that replace the old face below: the new one in one file, its four files, two old files
that go, the one file that goes.
"""

OLD = package(256) | {"expression_templates.json": b'[{"name": "smile"}]'}
NEW = package(300)


class Killed(BaseException):
    """The process ends here: it handles nothing any more."""


class Buckets:
    """One emulated bucket, and as many machines as a test wants that use it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.store = self.machine()

    def machine(self) -> StepwiseBucketStore:
        """A store with a client of its own."""
        return StepwiseBucketStore(BUCKET, bucket_client(self._port))

    def loaded(self, service: FaceModelCacheService | None = None) -> int:
        """What a session gets that begins now, from a thread: the side of the face."""
        return side_of_whole(
            asyncio.run(
                (service or FaceModelCacheService(self.machine())).load_face_model("ann", "f")
            )
        )

    async def side(self) -> int:
        """The same on the test's loop, of a service that has nothing in memory."""
        return side_of_whole(
            await FaceModelCacheService(self.machine()).load_face_model("ann", "f")
        )

    async def names(self) -> list[str]:
        return [blob.key.removeprefix(PREFIX + "/") for blob in await self.machine().blobs(PREFIX)]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with bucket_emulator() as port:
        yield port


@pytest.fixture
def buckets(port: int) -> Buckets:
    buckets = Buckets(port)
    buckets.machine()._delete("face-models/ann")
    return buckets


async def put_old(buckets: Buckets) -> None:
    await put(buckets.store, "ann", "f", OLD)
    await buckets.store.write(
        f"{derived_prefix('ann', 'f')}/sadtalker.x.npz", b"made of the old one"
    )


async def test_at_every_moment_of_a_replacement_whoever_begins_gets_the_old_face_or_the_new_one(
    buckets: Buckets,
) -> None:
    await put_old(buckets)
    remembering, seen = FaceModelCacheService(buckets.machine()), []
    await remembering.load_face_model("ann", "f")
    buckets.store.begin(lambda step: seen.append((buckets.loaded(), buckets.loaded(remembering))))
    await put(buckets.store, "ann", "f", NEW)
    assert seen == [(256, 256)] + [(300, 300)] * (STEPS - 1)
    assert await buckets.side() == 300
    assert await buckets.names() == FILES


async def test_a_face_that_is_enrolled_for_the_first_time_is_not_there_or_whole(
    buckets: Buckets,
) -> None:
    seen: list[int | LipSyncErrorCode] = []

    def look(step: int) -> None:
        try:
            seen.append(buckets.loaded())
        except LipSyncError as error:
            seen.append(error.code)

    buckets.store.begin(look)
    await put(buckets.store, "ann", "f", NEW)
    assert seen == [LipSyncErrorCode.FACE_MODEL_NOT_FOUND] + [300] * 5


@pytest.mark.parametrize("stays_away", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("failing", [0, 2, 4, 6, 7])
async def test_a_replacement_that_fails_leaves_one_whole_face_and_the_next_one_leaves_nothing_else(
    buckets: Buckets, failing: int, stays_away: bool
) -> None:
    await put_old(buckets)

    def fail(step: int) -> None:
        if step == failing or (stays_away and step > failing):
            raise ServiceUnavailable("away")  # type: ignore[no-untyped-call]

    buckets.store.begin(fail)
    with pytest.raises(OSError, match="away"):
        await put(buckets.store, "ann", "f", NEW)
    buckets.store.begin(lambda step: None)
    assert await buckets.side() == (256 if failing == 0 else 300)
    assert await FaceModelCacheService(buckets.machine()).list_face_models("ann") == ("f",)
    await put(buckets.store, "ann", "f", package(280))
    assert await buckets.side() == 280
    assert await buckets.names() == FILES


@pytest.mark.parametrize("step", [0, 2, 7])
async def test_of_two_machines_that_replace_a_face_at_once_the_later_one_s_stands_and_nothing_of_the_other(
    buckets: Buckets, step: int
) -> None:
    await put_old(buckets)
    other = buckets.machine()
    at_work = threading.Thread(target=lambda: other._replace(PREFIX, package(280)))

    def interrupt(now: int) -> None:
        if now == step:
            at_work.start()
            assert other.has_looked.wait(60.0)

    buckets.store.begin(interrupt)
    await put(buckets.store, "ann", "f", NEW)
    await asyncio.to_thread(at_work.join)
    assert await buckets.side() == (300 if step == 0 else 280)
    assert await buckets.names() == FILES


async def test_machines_that_replace_a_face_side_by_side_leave_one_whole_face_and_nothing_else(
    buckets: Buckets,
) -> None:
    machines, sides = [buckets.machine() for _ in range(4)], (200, 256, 280, 300)
    await asyncio.gather(
        *(
            put(machine, "ann", "f", package(side))
            for machine, side in zip(machines, sides, strict=True)
        )
    )
    assert await buckets.side() in sides
    assert await buckets.names() == FILES


@pytest.mark.parametrize("step", [0, 2, 5, 7])
async def test_a_face_that_is_deleted_while_it_is_replaced_is_gone_or_whole(
    buckets: Buckets, step: int
) -> None:
    await put_old(buckets)
    other = buckets.machine()

    def delete(now: int) -> None:
        if now == step:
            other._delete(PREFIX)

    buckets.store.begin(delete)
    await put(buckets.store, "ann", "f", NEW)
    buckets.store.begin(lambda step: None)
    assert await buckets.names() == (FILES if step == 0 else [])


@pytest.mark.parametrize("step", [1, 3, 7])
async def test_what_a_killed_machine_was_replacing_speaks_until_the_next_enrolment_tidies_up(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    await put_old(buckets)

    def kill(now: int) -> None:
        if now == step:
            raise Killed

    buckets.store.begin(kill)
    with pytest.raises(Killed):
        buckets.store._replace(PREFIX, NEW)
    assert await buckets.side() == 300
    monkeypatch.setattr(gcs, "ABANDONED_S", 0.0)
    await put(buckets.machine(), "ann", "f", package(280))
    assert await buckets.side() == 280
    assert await buckets.names() == FILES


async def test_of_several_killed_machines_the_last_one_s_face_speaks_and_is_listed(
    buckets: Buckets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(StepwiseBucketStore, "_settle", kill)
    for side in (200, 220, 240, 260, 280):
        with pytest.raises(Killed):
            buckets.store._replace(PREFIX, package(side))
        assert await buckets.side() == side
    service = FaceModelCacheService(buckets.machine())
    assert await service.list_face_models("ann") == ("f",)
    await service.delete_face_model("ann", "f")
    assert await buckets.names() == []


async def test_a_replacement_that_is_said_to_have_failed_does_not_count_though_it_arrived(
    buckets: Buckets,
) -> None:
    await put_old(buckets)
    write = buckets.store._write

    def arrived(key: str, data: bytes) -> None:
        write(key, data)
        raise ServiceUnavailable("away")  # type: ignore[no-untyped-call]

    buckets.store._write = arrived  # type: ignore[method-assign]
    with pytest.raises(OSError, match="away"):
        await put(buckets.store, "ann", "f", NEW)
    assert await buckets.side() == 256


async def test_a_deletion_that_fails_half_way_leaves_a_face_or_none_and_can_be_repeated(
    buckets: Buckets,
) -> None:
    await put_old(buckets)

    def fail(step: int) -> None:
        if step == 1:
            raise ServiceUnavailable("away")  # type: ignore[no-untyped-call]

    buckets.store.begin(fail)
    service = FaceModelCacheService(buckets.store)
    with pytest.raises(OSError, match="away"):
        await service.delete_face_model("ann", "f")
    assert await service.list_face_models("ann") == ()
    await service.delete_face_model("ann", "f")
    assert await buckets.names() == []


async def test_a_face_that_other_software_is_writing_speaks_from_memory_and_is_told_to_others_as_coming(
    buckets: Buckets, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    await put_old(buckets)
    service = FaceModelCacheService(buckets.machine())
    face = await service.load_face_model("ann", "f")
    await buckets.store.delete(f"{PREFIX}/metadata.json")
    await buckets.store.write(f"{PREFIX}/keypoints.json", NEW["keypoints.json"])
    assert await service.load_face_model("ann", "f") is face
    with pytest.raises(LipSyncError, match="being written") as caught:
        await FaceModelCacheService(BucketFaceStore(BUCKET, buckets.store._client)).load_face_model(
            "ann", "f"
        )
    assert caught.value.recoverable
    assert caught.value.details["file"] == "metadata.json"
    await put(buckets.store, "ann", "f", NEW)
    assert side_of_whole(await service.load_face_model("ann", "f")) == 300
