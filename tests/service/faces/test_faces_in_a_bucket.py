"""Faces from a bucket: the byte budget, errors naming damaged files, and an absent storage."""

from __future__ import annotations

import pytest
from bucket_emulator import BUCKET, emulated_bucket
from face_packages import jpeg, package, put
from overtaken_store import OvertakenStore

from benchmarks.face_loads import fill, random_loads
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage import gcs
from orchestrator.faces.storage.errors import ErrorTranslatingStore
from orchestrator.faces.storage.gcs import BucketFaceStore
from orchestrator.faces.storage.layout import active_model_key, face_prefix


async def test_random_loads_never_pass_the_byte_budget() -> None:
    """`python -m benchmarks.face_loads --loads 10000` is the same for longer."""
    with emulated_bucket() as client:
        store = BucketFaceStore(BUCKET, client)
        await fill(store, 8)
        loads = await random_loads(store, 8, 200, budget_bytes=4_000_000)
    assert len(loads.latencies_ms) == 200
    assert 0 < loads.max_bytes <= loads.budget_bytes


@pytest.mark.parametrize(
    ("files", "code", "file"),
    [
        ({}, LipSyncErrorCode.FACE_MODEL_NOT_FOUND, None),
        (package(keypoints=None), LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, "keypoints.json"),
        (
            package(keypoints=b'[{"x": 1'),
            LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE,
            "keypoints.json",
        ),
        (
            package(picture=jpeg()[:500]),
            LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE,
            "neutral_pose.jpg",
        ),
        (package(metadata=b"\xff\xfe"), LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, "metadata.json"),
    ],
    ids=["no face", "a missing file", "a cut off file", "half a picture", "no text"],
)
async def test_a_damaged_face_is_refused_by_the_name_of_its_file(
    files: dict[str, bytes], code: LipSyncErrorCode, file: str | None
) -> None:
    with emulated_bucket() as client:
        store = BucketFaceStore(BUCKET, client)
        if files:
            await put(store, "ann", "f", files)
        with pytest.raises(LipSyncError) as caught:
            await FaceModelCacheService(store).load_face_model("ann", "f")
    assert caught.value.code is code
    assert caught.value.details.get("file") == file


async def test_with_the_storage_away_faces_in_memory_go_on_and_others_are_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with emulated_bucket() as client:
        store = BucketFaceStore(BUCKET, client)
        await put(store, "ann", "f", package())
        await store.write(active_model_key("ann"), b'{"activeModelId": "f"}')
        service = FaceModelCacheService(ErrorTranslatingStore(store))
        face = await service.load_face_model("ann")
    monkeypatch.setattr(gcs, "CALL_TIMEOUT_S", 0.3)
    assert await service.load_face_model("ann", "f") is face
    assert await service.load_face_model("ann") is face
    with pytest.raises(LipSyncError, match="storage") as caught:
        await service.load_face_model("ann", "another")
    assert caught.value.recoverable
    assert caught.value.details["storage"] == "away"


async def test_a_face_that_changed_in_the_bucket_is_loaded_anew() -> None:
    with emulated_bucket() as client:
        store = BucketFaceStore(BUCKET, client)
        await put(store, "ann", "f", package())
        service = FaceModelCacheService(store)
        before = await service.load_face_model("ann", "f")
        await put(store, "ann", "f", package(side=300))
        after = await service.load_face_model("ann", "f")
        assert (before.resolution.width, after.resolution.width) == (256, 300)
        await store.delete(face_prefix("ann", "f"))
        with pytest.raises(LipSyncError):
            await service.load_face_model("ann", "f")


async def test_machines_that_delete_a_user_s_faces_at_once_leave_no_active_face_behind() -> None:
    with emulated_bucket() as client:
        store, other = (
            BucketFaceStore(BUCKET, client),
            FaceModelCacheService(BucketFaceStore(BUCKET, client)),
        )
        for face in ("a", "b"):
            await put(store, "ann", face, package())
        await other.activate("ann", "a")
        overtaken = OvertakenStore(
            store, "face-models/ann", lambda: other.delete_face_model("ann", "b")
        )
        await FaceModelCacheService(overtaken).delete_face_model("ann", "a")
        assert await store.blobs("face-models/ann") == ()


async def test_a_bucket_whose_active_face_is_gone_has_another_one_with_the_next_session() -> None:
    with emulated_bucket() as client:
        store = BucketFaceStore(BUCKET, client)
        await put(store, "ann", "b", package())
        await store.write(active_model_key("ann"), b'{"activeModelId": "a"}')
        assert (await FaceModelCacheService(store).load_face_model("ann")).id == "b"
        assert await store.read(active_model_key("ann")) == b'{"activeModelId":"b"}'
