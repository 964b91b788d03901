"""A good photo becomes a face to speak with; any other is refused with reasons its owner can act
on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from landmarker import require_face_landmarker

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel, LipSyncModel, RgbImage
from orchestrator.faces.compatibility import check_compatibility
from orchestrator.faces.enrolment.enrol import MAX_PHOTO_BYTES, analyse_photo, enrol_photo
from orchestrator.faces.enrolment.framing import crown_of, frame_head
from orchestrator.faces.enrolment.geometry_descriptor import describe
from orchestrator.faces.enrolment.photo_measurements import Measurements, measure, yaw_deg
from orchestrator.faces.enrolment.photo_quality import assess
from orchestrator.faces.image_decoding import encode_jpeg
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.layout import active_model_key
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.faces.storage.open_store import open_store

pytestmark = pytest.mark.slow

skimage_data = pytest.importorskip(
    "skimage.data",
    reason="scikit-image, which has a public-domain portrait, is not installed (extra dev)",
)
require_face_landmarker()

NOW = datetime(2026, 5, 4, 12, 30, tzinfo=UTC)
FACE_CENTRE = (222.0, 125.0)

GOOD = Measurements(
    face_height_px=300,
    uncovered=0,
    sharpness=0.1,
    brightness=150,
    contrast=120,
    lip_detail=0.06,
    yaw_deg=0,
    pitch_deg=0,
    mouth_open=0.05,
    eyes_open=0.35,
)


def astronaut() -> RgbImage:
    return np.asarray(skimage_data.astronaut(), np.uint8)


def turned(degrees: float) -> RgbImage:
    matrix = cv2.getRotationMatrix2D(FACE_CENTRE, degrees, 1.0)
    return np.asarray(
        cv2.warpAffine(astronaut(), matrix, (512, 512), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def masked() -> RgbImage:
    image = astronaut()
    image[136:192, 165:278] = (120, 170, 200)
    return image


def reasons_for(photo: RgbImage | bytes) -> list[str]:
    with pytest.raises(LipSyncError) as caught:
        analyse_photo(photo if isinstance(photo, bytes) else encode_jpeg(photo))
    assert caught.value.code is LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE
    assert caught.value.details["field"] == "photo"
    reasons = caught.value.details["reasons"]
    assert all(
        set(reason) == {"code", "message", "measured"} and reason["message"] in caught.value.message
        for reason in reasons
    )
    return [reason["code"] for reason in reasons]


async def test_a_good_photo_is_stored_in_the_layout_and_becomes_the_active_face(
    tmp_path: Path,
) -> None:
    store = LocalFaceStore(tmp_path)
    enrolled = await enrol_photo(
        encode_jpeg(astronaut()), user_id="ann", face_id="work", store=store, consent=True, now=NOW
    )
    folder = tmp_path / "face-models" / "ann" / "work"
    assert sorted(path.name for path in folder.iterdir()) == [
        "embeddings.json",
        "keypoints.json",
        "metadata.json",
        "neutral_pose.jpg",
    ]
    metadata = json.loads((folder / "metadata.json").read_text())
    assert (metadata["id"], metadata["userId"], metadata["createdAt"]) == (
        "work",
        "ann",
        "2026-05-04T12:30:00Z",
    )
    assert (metadata["consent"], metadata["consentAt"]) == (True, "2026-05-04T12:30:00Z")
    assert metadata["resolution"] == {"width": 256, "height": 256}
    assert [point["landmark"] for point in json.loads((folder / "keypoints.json").read_text())] == [
        str(n) for n in range(478)
    ]
    loaded = await FaceModelCacheService(store).load_face_model("ann")
    assert loaded.version == enrolled.version
    assert loaded.keypoints == enrolled.keypoints
    assert check_compatibility(loaded).issues == ()
    assert LipSyncModel.SADTALKER in check_compatibility(loaded).compatible_lip_sync_models


async def test_a_second_face_leaves_the_active_one_and_the_same_id_is_replaced(
    tmp_path: Path,
) -> None:
    store = LocalFaceStore(tmp_path)
    photo = encode_jpeg(astronaut())
    first = await enrol_photo(
        photo, user_id="ann", face_id=None, store=store, consent=True, now=NOW
    )
    await enrol_photo(photo, user_id="ann", face_id="two", store=store, consent=True, now=NOW)
    again = await enrol_photo(
        photo, user_id="ann", face_id=None, store=store, consent=True, now=NOW
    )
    assert (
        json.loads((await store.read(active_model_key("ann"))) or b"")["activeModelId"]
        == first.id
        == again.id
    )
    assert again.version != first.version
    assert await FaceModelCacheService(store).list_face_models("ann") == (first.id, "two")


async def test_a_face_enrolled_where_the_active_one_is_gone_becomes_the_active_one(
    tmp_path: Path,
) -> None:
    store = LocalFaceStore(tmp_path)
    await store.write(active_model_key("ann"), b'{"activeModelId": "gone"}')
    await enrol_photo(
        encode_jpeg(astronaut()), user_id="ann", face_id="new", store=store, consent=True, now=NOW
    )
    assert (await FaceModelCacheService(store).load_face_model("ann")).id == "new"


async def test_photos_enrolled_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    store, photo = LocalFaceStore(tmp_path), encode_jpeg(astronaut())
    faces = await asyncio.gather(
        *(
            enrol_photo(photo, user_id=f"u{n}", face_id="f", store=store, consent=True, now=NOW)
            for n in range(4)
        )
    )
    assert len({face.keypoints for face in faces}) == 1


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("consent", {"consent": False}),
        ("userId", {"user_id": "../ann"}),
        ("faceModelId", {"face_id": "a/b"}),
        ("faceModelId", {"face_id": ""}),
    ],
)
async def test_without_consent_or_with_a_bad_id_nothing_is_looked_at(
    tmp_path: Path, field: str, arguments: dict[str, object]
) -> None:
    good: dict[str, object] = {"user_id": "ann", "face_id": "f", "consent": True}
    with pytest.raises(LipSyncError) as caught:
        await enrol_photo(b"", store=LocalFaceStore(tmp_path), **(good | arguments))  # type: ignore[arg-type]
    assert caught.value.details["field"] == field
    assert await LocalFaceStore(tmp_path).blobs("face-models/ann") == ()


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: skimage_data.coffee(), "NO_FACE"),
        (lambda: skimage_data.chelsea(), "NO_FACE"),
        (lambda: np.concatenate([astronaut(), astronaut()], axis=1), "SEVERAL_FACES"),
        (lambda: (astronaut() * 0.08).astype(np.uint8), "TOO_DARK"),
        (lambda: (astronaut() * 0.08 + 100).astype(np.uint8), "LOW_CONTRAST"),
        (lambda: cv2.GaussianBlur(astronaut(), (0, 0), 3.0), "BLURRED"),
        (
            lambda: cv2.resize(astronaut(), (256, 256), interpolation=cv2.INTER_AREA),
            "FACE_TOO_SMALL",
        ),
        (lambda: astronaut()[95:], "HEAD_CUT_OFF"),
        (lambda: astronaut()[:155], "HEAD_CUT_OFF"),
        (lambda: astronaut()[:, 200:], "HEAD_CUT_OFF"),
        (masked, "MOUTH_COVERED"),
    ],
    ids=[
        "coffee",
        "cat",
        "two faces",
        "dark",
        "fog",
        "blurred",
        "small",
        "no forehead",
        "no chin",
        "half a face",
        "mask",
    ],
)
def test_a_photo_that_will_not_do_is_refused_for_what_is_wrong_with_it(
    make: Callable[[], RgbImage], code: str
) -> None:
    assert code in reasons_for(make())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "NOT_A_PICTURE"),
        (b"Dear Sir or Madam,", "NOT_A_PICTURE"),
        (encode_jpeg(astronaut())[:20_000], "PICTURE_DAMAGED"),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x17\x70\0\0\x13\x88\x08\x02\0\0\0",
            "PICTURE_TOO_LARGE",
        ),
        (bytes(MAX_PHOTO_BYTES + 1), "FILE_TOO_LARGE"),
    ],
    ids=["empty", "text", "truncated", "30 megapixels", "20 MiB"],
)
def test_a_file_that_is_no_usable_picture_is_refused(data: bytes, code: str) -> None:
    assert reasons_for(data) == [code]


def test_a_small_face_in_the_background_does_not_matter() -> None:
    photo = cv2.resize(astronaut(), (1024, 1024), interpolation=cv2.INTER_CUBIC)
    photo[100:292, 700:892] = cv2.resize(astronaut()[30:222, 130:322], (192, 192))
    assert analyse_photo(encode_jpeg(np.asarray(photo, np.uint8))).measurements.face_height_px > 150


@pytest.mark.parametrize("degrees", [0, 4, -15, 30, -40])
def test_the_enrolled_head_is_upright_centred_and_two_thirds_of_the_picture(degrees: float) -> None:
    portrait = analyse_photo(encode_jpeg(turned(degrees)))
    side = portrait.picture.shape[0]
    eyes = portrait.points[263] - portrait.points[33]
    chin, crown = portrait.points[152, :2], crown_of(portrait.points)
    assert abs(np.degrees(np.arctan2(eyes[1], eyes[0]))) < 8
    assert 0.35 < portrait.points[:468, 0].mean() / side < 0.65
    assert 0.0 < crown[1] / side < chin[1] / side < 0.9
    assert 0.5 < (chin[1] - crown[1]) / side < 0.75


def test_a_photo_on_its_side_is_enrolled_upright() -> None:
    portrait = analyse_photo(encode_jpeg(np.ascontiguousarray(np.rot90(astronaut()))))
    eyes = portrait.points[263] - portrait.points[33]
    assert abs(np.degrees(np.arctan2(eyes[1], eyes[0]))) < 8


def test_a_large_photo_gives_the_full_size_and_a_better_score_than_a_small_one() -> None:
    large = np.asarray(
        cv2.resize(astronaut(), (2048, 2048), interpolation=cv2.INTER_CUBIC), np.uint8
    )
    big, small = analyse_photo(encode_jpeg(large)), analyse_photo(encode_jpeg(astronaut()))
    assert (big.picture.shape, small.picture.shape) == ((512, 512, 3), (256, 256, 3))
    assert 100 >= big.assessment.score > small.assessment.score >= 70
    assert [warning.code for warning in small.assessment.warnings] == ["FACE_TOO_SMALL"]


def test_the_frame_stays_on_the_photo_before_it_keeps_its_ideal_margins() -> None:
    points = np.zeros((478, 2))
    points[[10, 152, 234, 454, 33, 263]] = [
        (60, 50),
        (60, 150),
        (25, 100),
        (95, 100),
        (45, 90),
        (75, 90),
    ]
    roomy = frame_head(points + 300, (1000, 1000))
    tight = frame_head(points, (160, 1000))
    assert (roomy.uncovered, round(roomy.side)) == (0.0, 210)
    assert tight.uncovered < 0.02
    assert 150 <= tight.side < 210


def test_every_check_refuses_only_beyond_its_limit_and_lowers_the_score_before() -> None:
    assert assess(GOOD).score == 100.0
    for field, code, worse, refused in [
        ("face_height_px", "FACE_TOO_SMALL", 100, 79),
        ("uncovered", "TOO_LITTLE_ROOM", 0.1, 0.16),
        ("sharpness", "BLURRED", 0.01, 0.003),
        ("brightness", "TOO_DARK", 30, 19),
        ("brightness", "TOO_BRIGHT", 240, 247),
        ("contrast", "LOW_CONTRAST", 20, 13),
        ("lip_detail", "MOUTH_COVERED", 0.015, 0.004),
        ("yaw_deg", "TURNED_AWAY", -20, 26),
        ("pitch_deg", "TILTED_UP_OR_DOWN", 20, -29),
        ("mouth_open", "MOUTH_OPEN", 0.3, 0.6),
        ("eyes_open", "EYES_CLOSED", 0.1, 0.05),
    ]:
        mild, bad = (assess(replace(GOOD, **{field: value})) for value in (worse, refused))
        assert ([finding.code for finding in mild.warnings], mild.reasons) == ([code], ())
        assert ([finding.code for finding in bad.reasons], bad.warnings) == ([code], ())
        assert 100 > mild.score > bad.score


@pytest.mark.parametrize("degrees", [-35, -10, 20, 40])
def test_a_turned_mesh_measures_as_turned(degrees: float) -> None:
    portrait = analyse_photo(encode_jpeg(astronaut()))
    angle, centre = np.radians(degrees), portrait.points.mean(axis=0)
    about_the_vertical = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    points = (portrait.points - centre) @ about_the_vertical + centre
    assert yaw_deg(points) == pytest.approx(yaw_deg(portrait.points) + degrees, abs=4)
    measured = measure(portrait.picture, points, face_height_px=300, uncovered=0)
    assert ("TURNED_AWAY" in [reason.code for reason in assess(measured).reasons]) == (
        abs(degrees) > 30
    )


def test_the_shipped_portrait_loads_suits_every_model_and_would_pass_as_a_photo(
    tmp_path: Path,
) -> None:
    async def load() -> FaceModel:
        return await FaceModelCacheService(open_store(tmp_path)).load_face_model("demo")

    face = asyncio.run(load())
    assert face.id == "demo"
    assert check_compatibility(face).issues == ()
    portrait = analyse_photo(encode_jpeg(face.neutral_pose))
    assert (portrait.assessment.warnings, portrait.picture.shape) == ((), (512, 512, 3))


def test_the_descriptor_ignores_place_size_and_tilt() -> None:
    points = analyse_photo(encode_jpeg(astronaut())).points[:, :2]
    turn = np.array([[0.8, 0.6], [-0.6, 0.8]])
    first, second = np.array(describe(points)), np.array(describe(points @ turn * 3 + 70))
    assert first.shape == (134,)
    assert np.allclose(first, second, atol=1e-5)
    assert np.linalg.norm(first) == pytest.approx(1.0, abs=1e-3)
