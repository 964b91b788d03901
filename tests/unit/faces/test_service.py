"""A face is read once for all who ask at once, prepared once per model and size, and forgotten when
it changed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import cv2
import face_packages as made
import pytest

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel, LipSyncModel
from orchestrator.faces.cache import face_bytes
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.layout import Blob, active_model_key
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.faces.storage.replacement import new_replacement_name
from orchestrator.models.base import ModelAdapter

pytestmark = pytest.mark.usefixtures("patient_storage")


class CountingStore(LocalFaceStore):
    """A real local store that counts what is read from it, and can be written to in the middle of a
    reading.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: list[str] = []
        self.overwrite_once: Mapping[str, bytes] | None = None

    async def read(self, key: str) -> bytes | None:
        self.reads.append(key)
        data = await super().read(key)
        if self.overwrite_once is not None and key.endswith("keypoints.json"):
            files, self.overwrite_once = self.overwrite_once, None
            await self.replace(key.rsplit("/", 1)[0], files)
        return data


@dataclass(frozen=True)
class Prepared:
    version: str
    nbytes: int


class CountingAdapter:
    """Prepares nothing, and counts how often it is asked to."""

    def __init__(
        self,
        model: LipSyncModel = LipSyncModel.TPSM,
        nbytes: int = 1000,
        error: Exception | None = None,
    ) -> None:
        self.spec = SimpleNamespace(model=model)
        self.calls: list[tuple[str, int]] = []
        self.nbytes, self.error = nbytes, error

    def prepare(self, face: FaceModel, size: int) -> Prepared:
        self.calls.append((face.id, size))
        if self.error is not None:
            raise self.error
        return Prepared(face.version, self.nbytes)

    def adapter(self) -> ModelAdapter:
        return cast(ModelAdapter, self)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path)


async def test_a_hundred_requests_at_once_read_the_files_once(store: CountingStore) -> None:
    await made.put(store, "ann", "f", made.package())
    service = FaceModelCacheService(store)
    faces = await asyncio.gather(*(service.load_face_model("ann", "f") for _ in range(100)))
    assert len(set(map(id, faces))) == 1
    read = sorted(key.rsplit("/", 1)[1] for key in store.reads)
    assert read == ["embeddings.json", "keypoints.json", "metadata.json", "neutral_pose.jpg"]
    assert service.cached_bytes == face_bytes(faces[0])


async def test_a_cached_face_is_the_same_object_until_its_files_change(
    store: CountingStore,
) -> None:
    await made.put(store, "ann", "f", made.package())
    service = FaceModelCacheService(store)
    first = await service.load_face_model("ann", "f")
    assert await service.load_face_model("ann", "f") is first
    await made.put(store, "ann", "f", made.package(128))
    second = await service.load_face_model("ann", "f")
    assert second.resolution.width == 128
    assert second.version != first.version


async def test_a_face_that_is_written_while_it_is_read_is_never_a_mixture(
    store: CountingStore,
) -> None:
    await made.put(store, "ann", "f", made.package(256))
    store.overwrite_once = made.package(128)
    face = await FaceModelCacheService(store).load_face_model("ann", "f")
    assert face.resolution.width == 128
    assert face.landmarks().max() < 128


async def test_a_face_that_is_being_written_speaks_from_memory_and_stays_prepared(
    store: CountingStore,
) -> None:
    await made.put(store, "ann", "f", made.package())
    service, adapter = FaceModelCacheService(store), CountingAdapter()
    face = await service.load_face_model("ann", "f")
    prepared = await service.optimize_for_model(face, adapter.adapter(), 256)
    await store.delete("face-models/ann/f/metadata.json")
    assert await service.load_face_model("ann", "f") is face
    assert service.prepared(face, adapter.adapter(), 256) is prepared
    await made.put(store, "ann", "f", made.package(128))
    assert (await service.load_face_model("ann", "f")).resolution.width == 128


@pytest.mark.parametrize("data", [b"no files", b"\x81\xa1a\x01", b""])
async def test_a_replacement_that_holds_no_files_is_named(
    store: CountingStore, data: bytes
) -> None:
    name = new_replacement_name()
    await store.write(f"face-models/ann/f/{name}", data)
    with pytest.raises(LipSyncError, match=name) as caught:
        await FaceModelCacheService(store).load_face_model("ann", "f")
    assert caught.value.code is LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE


async def test_an_error_is_not_remembered(store: CountingStore) -> None:
    service = FaceModelCacheService(store)
    results = await asyncio.gather(
        *(service.load_face_model("ann", "f") for _ in range(5)), return_exceptions=True
    )
    assert {result.code for result in results if isinstance(result, LipSyncError)} == {
        LipSyncErrorCode.FACE_MODEL_NOT_FOUND
    }
    await made.put(store, "ann", "f", made.package())
    assert (await service.load_face_model("ann", "f")).id == "f"


async def test_a_face_that_went_bad_leaves_the_cache(store: CountingStore) -> None:
    await made.put(store, "ann", "f", made.package())
    service = FaceModelCacheService(store)
    await service.load_face_model("ann", "f")
    await made.put(store, "ann", "f", made.package(keypoints=b"["))
    with pytest.raises(LipSyncError, match=r"keypoints\.json"):
        await service.load_face_model("ann", "f")
    assert service.cached_bytes == 0


async def test_an_id_that_is_a_path_reaches_no_storage(store: CountingStore) -> None:
    service = FaceModelCacheService(store)
    for user, face, field in (("../x", "f", "userId"), ("ann", "../../etc", "faceModelId")):
        with pytest.raises(LipSyncError) as caught:
            await service.load_face_model(user, face)
        assert caught.value.details["field"] == field
    assert store.reads == []


async def test_without_a_face_id_the_active_one_is_meant(store: CountingStore) -> None:
    service = FaceModelCacheService(store)
    with pytest.raises(LipSyncError, match="no active face model") as caught:
        await service.load_face_model("ann")
    assert caught.value.code is LipSyncErrorCode.FACE_MODEL_NOT_FOUND
    await made.put(store, "ann", "f", made.package())
    await store.write(active_model_key("ann"), b'{"activeModelId": "f"}')
    assert (await service.load_face_model("ann")).id == "f"


@pytest.mark.parametrize(
    "content", [b"{", b"{}", b'{"activeModelId": "../x"}', b'{"activeModelId": 3}', b"\xff"]
)
async def test_a_broken_active_model_file_is_named(store: CountingStore, content: bytes) -> None:
    await store.write(active_model_key("ann"), content)
    with pytest.raises(LipSyncError, match=r"active_model\.json") as caught:
        await FaceModelCacheService(store).load_face_model("ann")
    assert caught.value.code is LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE


async def test_faces_are_held_within_their_count(store: CountingStore) -> None:
    for face in ("a", "b", "c"):
        await made.put(store, "ann", face, made.package(128))
    service = FaceModelCacheService(store, max_faces=2)
    loaded = [await service.load_face_model("ann", face) for face in ("a", "b", "c")]
    assert service.cached_bytes == face_bytes(loaded[1]) + face_bytes(loaded[2])
    assert await service.load_face_model("ann", "a") is not loaded[0]


async def test_preparation_happens_once_per_model_and_size(store: CountingStore) -> None:
    await made.put(store, "ann", "f", made.package())
    service = FaceModelCacheService(store)
    face = await service.load_face_model("ann", "f")
    tpsm, static = CountingAdapter(), CountingAdapter(LipSyncModel.STATIC)
    await asyncio.gather(
        *(
            service.optimize_for_model(face, tpsm.adapter(), size)
            for size in (256, 512)
            for _ in range(20)
        )
    )
    await service.optimize_for_model(face, static.adapter(), 256)
    await service.optimize_for_model(face, tpsm.adapter(), 256)
    assert sorted(tpsm.calls) == [("f", 256), ("f", 512)]
    assert static.calls == [("f", 256)]
    assert service.cached_bytes == face_bytes(face) + 3000


async def test_derived_data_follow_the_face_and_go_with_it(store: CountingStore) -> None:
    await made.put(store, "ann", "f", made.package())
    service, adapter = FaceModelCacheService(store), CountingAdapter()
    old = await service.load_face_model("ann", "f")
    await service.optimize_for_model(old, adapter.adapter(), 256)
    await made.put(store, "ann", "f", made.package())
    new = await service.load_face_model("ann", "f")
    derived = await service.optimize_for_model(new, adapter.adapter(), 256)
    assert derived.version == new.version
    assert service.cached_bytes == face_bytes(new) + 1000


async def test_derived_data_stay_within_their_bytes_and_a_failure_is_tried_again(
    store: CountingStore,
) -> None:
    await made.put(store, "ann", "f", made.package())
    service = FaceModelCacheService(store, max_derived_bytes=2500)
    face = await service.load_face_model("ann", "f")
    adapter = CountingAdapter()
    for size in (128, 256, 512):
        await service.optimize_for_model(face, adapter.adapter(), size)
    assert service.cached_bytes == face_bytes(face) + 2000
    failing = CountingAdapter(
        LipSyncModel.STATIC,
        error=LipSyncError(LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, "no mouth"),
    )
    for _ in range(2):
        with pytest.raises(LipSyncError, match="no mouth"):
            await service.optimize_for_model(face, failing.adapter(), 256)
    assert len(failing.calls) == 2


async def test_deleting_the_active_face_makes_another_one_active_or_none(
    store: CountingStore,
) -> None:
    service = FaceModelCacheService(store)
    for face in ("a", "b"):
        await made.put(store, "ann", face, made.package(128))
    await service.activate("ann", "b")
    assert await service.list_face_models("ann") == ("a", "b")
    await service.delete_face_model("ann", "b")
    assert await service.active_model_id("ann") == "a"
    await service.delete_face_model("ann", "a")
    assert await service.list_face_models("ann") == ()
    assert await store.read(active_model_key("ann")) is None
    with pytest.raises(LipSyncError, match="no face model 'a'"):
        await service.delete_face_model("ann", "a")


async def test_a_hot_swap_activates_the_new_face_only_if_it_loads(store: CountingStore) -> None:
    service = FaceModelCacheService(store)
    for face in ("a", "b"):
        await made.put(store, "ann", face, made.package(128))
    await service.activate("ann", "a")
    with pytest.raises(LipSyncError, match="no face model 'c'"):
        await service.hot_swap_model("ann", "a", "c")
    assert await service.active_model_id("ann") == "a"
    assert (await service.hot_swap_model("ann", "a", "b")).id == "b"
    assert await service.active_model_id("ann") == "b"


async def test_preloading_reports_whose_face_is_there(store: CountingStore) -> None:
    service = FaceModelCacheService(store)
    await made.put(store, "ann", "f", made.package(128))
    await service.activate("ann", "f")
    assert await service.preload_for_users(["ann", "bob"]) == ("ann",)


async def test_a_folder_listing_is_what_other_software_wrote(
    store: CountingStore, tmp_path: Path
) -> None:
    folder = tmp_path / "face-models" / "zoe" / "other"
    folder.mkdir(parents=True)
    for name, data in made.package(
        metadata=made.metadata(software="another", blob={"deep": [1, {"x": None}]})
    ).items():
        (folder / name).write_bytes(data)
    (folder / "notes (old).txt").write_text("left by a person")
    (folder.parent / "active_model.json").write_text(
        json.dumps({"activeModelId": "other", "since": 1})
    )
    face = await FaceModelCacheService(store).load_face_model("zoe")
    assert face.metadata["software"] == "another"
    assert all(isinstance(blob, Blob) for blob in await store.blobs("face-models/zoe"))


async def test_preprocessed_data_are_the_aligned_face_with_its_landmarks_and_embedding(
    store: CountingStore,
) -> None:
    await made.put(store, "ann", "f", made.package())
    prepared = await FaceModelCacheService(store).get_preprocessed_data("ann", "f")
    side = prepared.aligned_face.shape[0]
    assert prepared.aligned_face.shape == (side, side, 3)
    assert prepared.landmarks.shape == (478, 2)
    assert 0 < prepared.landmarks.min() < prepared.landmarks.max() < side
    assert prepared.embedding == (0.1, 0.2)
    for chin_y in (77.0, 1e9):
        points = made.points()
        points[152] |= {"x": 128.0, "y": chin_y}
        await made.put(store, "ann", "f", made.package(keypoints=points))
        with pytest.raises(LipSyncError, match="span no face"):
            await FaceModelCacheService(store).get_preprocessed_data("ann", "f")


@pytest.mark.parametrize(
    "error",
    [ValueError("narrower than two pixels"), FloatingPointError("narrower"), cv2.error("narrower")],
)
async def test_points_that_a_model_can_make_nothing_of_are_named(
    store: CountingStore, error: Exception
) -> None:
    service = FaceModelCacheService(store)
    await made.put(store, "ann", "f", made.package(128))
    face = await service.load_face_model("ann", "f")
    with pytest.raises(
        LipSyncError, match=r"'f' cannot be used with tpsm: keypoints\.json: .*narrower"
    ) as caught:
        await service.optimize_for_model(face, CountingAdapter(error=error).adapter(), 256)
    assert caught.value.code is LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE
    assert caught.value.details == {"faceModelId": "f", "file": "keypoints.json", "model": "tpsm"}
