"""What networks saw in a face is kept as long as face, code and networks stay the same, and is made
anew otherwise.
"""

from __future__ import annotations

import asyncio
import dataclasses
import io
import logging
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import face_packages as made
import numpy as np
import pytest
from encoded_faces import (
    ENCODINGS_BYTES,
    EYE,
    INPUTS_BYTES,
    CountingInference,
    FarInference,
    LookingAdapter,
    eye_repository,
)
from virtual_time import run_virtual

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import LipSyncModel
from orchestrator.faces.cache import face_bytes
from orchestrator.faces.preparation.encoding_file import Encodings, from_npz, to_npz
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, active_model_key, face_prefix
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.faces.storage.open_store import open_store
from orchestrator.models import ADAPTERS
from orchestrator.models.base import ArraySpec, EncodesFace, FaceEncoding


@pytest.fixture
def store(tmp_path: Path) -> LocalFaceStore:
    return LocalFaceStore(tmp_path / "faces")


@pytest.fixture
def inference(tmp_path: Path) -> CountingInference:
    return CountingInference(eye_repository(tmp_path / "repository"))


def derived(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "faces").rglob("derived/*"))


async def looked_at(
    store: LocalFaceStore,
    inference: CountingInference,
    adapter: LookingAdapter | None = None,
    size: int = 256,
) -> Any:
    """What a service that was started just now prepares of the face."""
    service = FaceModelCacheService(store)
    face = await service.load_face_model("ann", "f")
    return await service.optimize_for_model(face, adapter or LookingAdapter(), size, inference)


async def test_a_hundred_requests_for_two_sizes_look_at_the_face_once(
    store: LocalFaceStore, inference: CountingInference
) -> None:
    await made.put(store, "ann", "f", made.package())
    service, adapter = FaceModelCacheService(store), LookingAdapter()
    face = await service.load_face_model("ann", "f")
    assert service.prepared(face, adapter, 256) is None
    faces = await asyncio.gather(
        *(
            service.optimize_for_model(face, adapter, size, inference)
            for size in (256, 512)
            for _ in range(50)
        )
    )
    assert (sorted(adapter.prepared), inference.asked[EYE]) == ([256, 512], 1)
    assert {id(each) for each in faces} == {
        id(service.prepared(face, adapter, size)) for size in (256, 512)
    }
    assert all(each.seen is faces[0].seen for each in faces)
    assert service.cached_bytes == face_bytes(face) + 2 * INPUTS_BYTES + ENCODINGS_BYTES


async def test_encodings_that_depend_on_the_size_are_made_and_kept_for_each(
    store: LocalFaceStore, inference: CountingInference, tmp_path: Path
) -> None:
    await made.put(store, "ann", "f", made.package())
    for _ in range(2):
        for size in (256, 512):
            await looked_at(store, inference, LookingAdapter(by_size=True), size)
    assert inference.asked[EYE] == 2
    assert [path.name.split(".")[2:] for path in derived(tmp_path)] == [
        ["256", "npz"],
        ["512", "npz"],
    ]


async def test_another_service_over_the_same_folder_does_not_look_again(
    store: LocalFaceStore, inference: CountingInference
) -> None:
    await made.put(store, "ann", "f", made.package())
    first, again = await looked_at(store, inference), await looked_at(store, inference, size=512)
    assert inference.asked[EYE] == 1
    assert np.array_equal(first.seen, again.seen)
    assert not again.seen.flags.writeable
    assert not first.seen.flags.writeable


async def test_a_face_copied_elsewhere_with_what_was_derived_is_the_same_face(
    store: LocalFaceStore, inference: CountingInference, tmp_path: Path
) -> None:
    await made.put(store, "ann", "f", made.package())
    await looked_at(store, inference)
    shutil.copytree(tmp_path / "faces", tmp_path / "backup")
    await looked_at(LocalFaceStore(tmp_path / "backup"), inference)
    assert inference.asked[EYE] == 1


async def test_another_network_looks_again_and_what_the_old_one_saw_is_removed(
    store: LocalFaceStore, inference: CountingInference, tmp_path: Path
) -> None:
    await made.put(store, "ann", "f", made.package())
    old = await looked_at(store, inference)
    (before,) = derived(tmp_path)
    other = CountingInference(eye_repository(tmp_path / "repository", seed=8))
    new = await looked_at(store, other)
    assert other.asked[EYE] == 1
    assert not np.array_equal(old.seen, new.seen)
    (after,) = derived(tmp_path)
    assert before.name != after.name


async def test_another_photo_or_other_code_looks_again_and_a_remark_in_the_metadata_does_not(
    store: LocalFaceStore, inference: CountingInference, tmp_path: Path
) -> None:
    await made.put(store, "ann", "f", made.package())
    await looked_at(store, inference)
    await store.write(
        "face-models/ann/f/metadata.json",
        made.package(metadata=made.metadata(remark="new"))["metadata.json"],
    )
    await looked_at(store, inference)
    assert inference.asked[EYE] == 1
    newer = LookingAdapter()
    newer.encoding = dataclasses.replace(newer.encoding, version=2)
    await looked_at(store, inference, newer)
    assert inference.asked[EYE] == 2
    await store.write("face-models/ann/f/neutral_pose.jpg", made.jpeg(512, 512))
    await looked_at(store, inference, newer)
    assert inference.asked[EYE] == 3
    assert len(derived(tmp_path)) == 1


async def test_models_whose_names_begin_alike_keep_their_own(
    store: LocalFaceStore, inference: CountingInference, tmp_path: Path
) -> None:
    await made.put(store, "ann", "f", made.package())
    for model in (
        LipSyncModel.TPSM_NEURAL,
        LipSyncModel.TPSM,
        LipSyncModel.TPSM_NEURAL,
        LipSyncModel.TPSM,
    ):
        await looked_at(store, inference, LookingAdapter(model))
    assert inference.asked[EYE] == 2
    assert {path.name.split(".")[0] for path in derived(tmp_path)} == {"tpsm", "tpsm-neural"}
    assert len(derived(tmp_path)) == 2


async def test_storing_what_was_derived_changes_no_face(
    store: LocalFaceStore, inference: CountingInference
) -> None:
    await made.put(store, "ann", "f", made.package())
    service = FaceModelCacheService(store)
    face = await service.load_face_model("ann", "f")
    await service.optimize_for_model(face, LookingAdapter(), 256, inference)
    assert await service.load_face_model("ann", "f") is face
    assert await service.list_face_models("ann") == ("f",)


async def test_what_was_derived_goes_with_the_face(
    store: LocalFaceStore, inference: CountingInference, tmp_path: Path
) -> None:
    await made.put(store, "ann", "f", made.package())
    service = FaceModelCacheService(store)
    face = await service.load_face_model("ann", "f")
    await service.optimize_for_model(face, LookingAdapter(), 256, inference)
    await service.delete_face_model("ann", "f")
    assert service.cached_bytes == 0
    assert derived(tmp_path) == []


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_face_that_goes_while_it_is_looked_at_leaves_nothing_behind(
    store: LocalFaceStore, inference: CountingInference, tmp_path: Path, is_replaced: bool
) -> None:
    class Leaving(LookingAdapter):
        async def encode(self, infer: Any, face: Any) -> Any:
            if is_replaced:
                await made.put(store, "ann", "f", made.package())
            else:
                await store.delete(face_prefix("ann", "f"))
            return await super().encode(infer, face)

    await made.put(store, "ann", "f", made.package())
    assert (await looked_at(store, inference, Leaving())).seen is not None
    assert derived(tmp_path) == []


async def test_a_folder_with_nothing_but_derived_files_is_no_face(store: LocalFaceStore) -> None:
    await store.write("face-models/ann/f/derived/metadata.json", b"{}")
    with pytest.raises(LipSyncError, match="no face model"):
        await FaceModelCacheService(store).load_face_model("ann", "f")
    assert await FaceModelCacheService(store).list_face_models("ann") == ()


async def test_what_networks_elsewhere_saw_is_kept_in_memory_only(
    store: LocalFaceStore, tmp_path: Path
) -> None:
    await made.put(store, "ann", "f", made.package())
    far = FarInference(eye_repository(tmp_path / "repository"))
    service, adapter = FaceModelCacheService(store), LookingAdapter()
    face = await service.load_face_model("ann", "f")
    for size in (256, 512, 256):
        await service.optimize_for_model(face, adapter, size, far)
    assert far.asked[EYE] == 1
    assert derived(tmp_path) == []


async def test_a_network_that_changed_while_it_looked_is_not_believed_later(
    store: LocalFaceStore, inference: CountingInference, tmp_path: Path
) -> None:
    class Slow(LookingAdapter):
        async def encode(self, infer: Any, face: Any) -> Any:
            answered = await super().encode(infer, face)
            eye_repository(tmp_path / "repository", seed=8)
            return answered

    await made.put(store, "ann", "f", made.package())
    await looked_at(store, inference, Slow())
    assert derived(tmp_path) == []


class ReadOnlyStore(LocalFaceStore):
    """A folder on a disk that was mounted for reading."""

    async def write(self, key: str, data: bytes) -> None:
        raise OSError(30, "Read-only file system", key)


async def test_a_store_that_cannot_be_written_is_told_of_once_and_is_no_error(
    tmp_path: Path, inference: CountingInference, caplog: pytest.LogCaptureFixture
) -> None:
    store = ReadOnlyStore(tmp_path / "faces")
    service = FaceModelCacheService(store)
    with caplog.at_level(logging.WARNING):
        for name in ("f", "g"):
            await made.put(store, "ann", name, made.package())
            face = await service.load_face_model("ann", name)
            assert (
                await service.optimize_for_model(face, LookingAdapter(), 256, inference)
            ).seen is not None
    assert [record.message.count("cannot be stored") for record in caplog.records] == [1]


async def test_what_is_derived_from_the_shipped_face_lies_in_the_own_store(
    tmp_path: Path, inference: CountingInference
) -> None:
    for _ in range(2):
        store = open_store(tmp_path / "faces")
        service = FaceModelCacheService(store)
        face = await service.load_face_model(DEMO_USER, DEMO_FACE)
        await service.optimize_for_model(face, LookingAdapter(), 256, inference)
        assert await service.load_face_model(DEMO_USER, DEMO_FACE) is face
    assert inference.asked[EYE] == 1
    assert len(derived(tmp_path)) == 1
    assert await store.read(active_model_key(DEMO_USER)) is not None


def archive(arrays: dict[str, Any], *, save: Callable[..., None] = np.savez) -> bytes:
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


GOOD = np.zeros((2, 5), np.float32)
FORGERIES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut off": lambda data: data[:-30],
    "one bit": lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    "a pickle": lambda _: pickle.dumps({"seen": GOOD}),
    "objects": lambda _: archive({"seen": np.array([[{}]], dtype=object)}),
    "another name": lambda _: archive({"saw": GOOD}),
    "a name too many": lambda _: archive({"seen": GOOD, "more": GOOD}),
    "another shape": lambda _: archive({"seen": GOOD.T.copy()}),
    "another type": lambda _: archive({"seen": GOOD.astype(np.float64)}),
    "another order": lambda _: archive({"seen": np.asfortranarray(GOOD)}),
    "compressed": lambda _: archive({"seen": GOOD}, save=np.savez_compressed),
    "a text": lambda _: b"seen",
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_file_that_is_not_what_the_networks_would_say_is_made_anew(
    store: LocalFaceStore,
    inference: CountingInference,
    tmp_path: Path,
    forge: Callable[[bytes], bytes],
) -> None:
    await made.put(store, "ann", "f", made.package())
    first = await looked_at(store, inference)
    (path,) = derived(tmp_path)
    good = path.read_bytes()
    path.write_bytes(forge(good))
    again = await looked_at(store, inference)
    assert inference.asked[EYE] == 2
    assert np.array_equal(first.seen, again.seen)
    with np.load(path, allow_pickle=False) as arrays:
        assert np.array_equal(arrays["seen"], first.seen)


def test_no_damage_to_a_file_is_answered_with_anything_but_a_refusal() -> None:
    encoding = FaceEncoding({"a": ArraySpec("float32", (3, -1)), "b": ArraySpec("float16", (4,))})
    arrays = {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "b": np.ones(4, np.float16)}
    good = to_npz(Encodings(arrays))
    rng, accepted = np.random.default_rng(1), 0
    for _ in range(1500):
        bad = bytearray(good[: rng.integers(1, len(good) + 1)])
        for position in rng.integers(0, len(bad), rng.integers(0, 4)):
            bad[position] = rng.integers(0, 256)
        try:
            found = from_npz(bytes(bad), encoding)
        except ValueError:
            continue
        accepted += 1
        assert all(np.array_equal(found.arrays[name], array) for name, array in arrays.items())
    assert accepted < 200  # those whose bytes matter to nobody, or did not change


def test_a_forged_shape_reserves_no_memory() -> None:
    encoding = FaceEncoding({"a": ArraySpec("float32", (-1, -1))})
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1 << 40)}
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as forged:
        forged.writestr("a.npy", header.getvalue() + b"\0" * 16)
    with pytest.raises(ValueError, match="do not match"):
        from_npz(buffer.getvalue(), encoding)


async def test_an_answer_that_the_adapter_does_not_declare_is_an_error_and_is_not_stored(
    store: LocalFaceStore, inference: CountingInference, tmp_path: Path
) -> None:
    adapter = LookingAdapter()
    adapter.encoding = FaceEncoding({"seen": ArraySpec("float32", (2, 6))})
    await made.put(store, "ann", "f", made.package())
    with pytest.raises(LipSyncError, match=r"seen: float32 \(2, 5\) instead of") as caught:
        await looked_at(store, inference, adapter)
    assert caught.value.code is LipSyncErrorCode.VIDEO_GENERATION_FAILED
    assert derived(tmp_path) == []


def test_networks_that_look_too_long_are_given_up(tmp_path: Path) -> None:
    async def waited() -> float:
        store, loop = LocalFaceStore(tmp_path / "faces"), asyncio.get_running_loop()
        await made.put(store, "ann", "f", made.package())
        service = FaceModelCacheService(store, encoding_deadline_s=7.0)
        face = await service.load_face_model("ann", "f")
        async with CountingInference(eye_repository(tmp_path / "repository")) as inference:
            began_s = loop.time()
            with pytest.raises(LipSyncError, match="did not encode the face within 7 s") as caught:
                await service.optimize_for_model(
                    face, LookingAdapter(takes_s=100.0), 256, inference
                )
        assert caught.value.code is LipSyncErrorCode.TIMEOUT
        return loop.time() - began_s

    assert run_virtual(waited()) == pytest.approx(7.0)


async def test_memory_is_counted_to_the_byte_and_no_face_outlives_its_encodings(
    store: LocalFaceStore, inference: CountingInference
) -> None:
    service, adapter = (
        FaceModelCacheService(store, max_derived_bytes=2 * (INPUTS_BYTES + ENCODINGS_BYTES)),
        LookingAdapter(),
    )
    faces = []
    for name in ("a", "b", "c"):
        await made.put(store, "ann", name, made.package(128))
        faces.append(await service.load_face_model("ann", name))
        await service.optimize_for_model(faces[-1], adapter, 256, inference)
        held = [face for face in faces if service.prepared(face, adapter, 256) is not None]
        derived_bytes = service.cached_bytes - sum(map(face_bytes, faces))
        assert held == faces[-2:]
        assert derived_bytes == len(held) * (INPUTS_BYTES + ENCODINGS_BYTES)


async def test_a_face_that_does_not_fit_into_memory_says_what_to_do(
    store: LocalFaceStore, inference: CountingInference
) -> None:
    await made.put(store, "ann", "f", made.package())
    service = FaceModelCacheService(store, max_derived_bytes=INPUTS_BYTES + ENCODINGS_BYTES - 1)
    face = await service.load_face_model("ann", "f")
    with pytest.raises(LipSyncError, match="face_cache_mb") as caught:
        await service.optimize_for_model(face, LookingAdapter(), 256, inference)
    assert caught.value.code is LipSyncErrorCode.MODEL_LOAD_FAILED


def test_every_adapter_that_encodes_faces_says_what_it_answers() -> None:
    for adapter in ADAPTERS.values():
        if hasattr(adapter, "encode"):
            assert isinstance(adapter, EncodesFace), (
                f"{adapter.spec.model.value} lacks `face_models` or `encoding`"
            )
            assert set(adapter.face_models) <= set(adapter.spec.triton_models)
            assert adapter.encoding.arrays
