"""Face models by other software load; broken ones say which file and which field."""

from __future__ import annotations

import json
from typing import Any

import face_packages as made
import numpy as np
import pytest

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import SHIPPED_MODELS, FaceModel, LipSyncModel
from orchestrator.faces.compatibility import check_compatibility
from orchestrator.faces.storage.face_format import parse_face_model, serialise_face_model
from orchestrator.faces.storage.face_listing import check_listing
from orchestrator.faces.storage.layout import Blob


def parse(files: dict[str, bytes]) -> FaceModel:
    return parse_face_model("ann", "f", files, "v1")


def refusal(files: dict[str, bytes]) -> LipSyncError:
    with pytest.raises(LipSyncError) as caught:
        parse(files)
    assert caught.value.code is LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE
    assert caught.value.details["file"] in caught.value.message
    return caught.value


def test_a_face_model_survives_the_way_to_its_files_and_back() -> None:
    templates = [{"name": "smile", "keypoints": [], "blendshapes": [0.5]}]
    first = parse(made.package(expression_templates=templates))
    second = parse(serialise_face_model(first, made.jpeg()))
    assert (second.id, second.user_id, second.quality_score, second.created_at) == (
        "f",
        "ann",
        80.0,
        "2026-01-01T00:00:00Z",
    )
    assert second.keypoints == first.keypoints
    assert second.embeddings == ((0.1, 0.2),)
    assert second.metadata == first.metadata
    assert second.metadata["expressionTemplates"] == templates
    assert np.array_equal(second.neutral_pose, first.neutral_pose)


def test_unknown_fields_are_ignored_and_metadata_is_kept() -> None:
    points = [point | {"z": 0.1, "visible": True} for point in made.points()]
    face = parse(
        made.package(keypoints=points, metadata=made.metadata(modelPath="gs://x", tags=[1]))
    )
    assert face.metadata["tags"] == [1]


@pytest.mark.parametrize("count", [468, 478])
def test_a_mesh_with_and_without_irises_loads(count: int) -> None:
    assert len(parse(made.package(keypoints=made.points(count))).keypoints) == count


@pytest.mark.parametrize(("written", "read"), [(7, "7"), ("leftEye", "leftEye"), (None, "")])
def test_a_landmark_may_be_a_number_a_name_or_null(written: Any, read: str) -> None:
    points = made.points()
    points[3]["landmark"] = written
    assert parse(made.package(keypoints=points)).keypoints[3].landmark == read


def test_absent_confidence_is_full_confidence_and_absent_landmark_is_no_name() -> None:
    bare = [{"x": point["x"], "y": point["y"]} for point in made.points()]
    first = parse(made.package(keypoints=bare)).keypoints[0]
    assert (first.confidence, first.landmark) == (1.0, "")


def test_whole_numbers_and_an_epoch_as_creation_time_load() -> None:
    points = [point | {"x": int(point["x"]), "y": int(point["y"])} for point in made.points()]
    assert (
        parse(
            made.package(keypoints=points, metadata=made.metadata(createdAt=1705312200000))
        ).created_at
        == "1705312200000"
    )


def test_the_path_tells_whose_face_it_is_not_the_metadata() -> None:
    face = parse(made.package(metadata=made.metadata(id="other", userId="mallory")))
    assert (face.id, face.user_id) == ("f", "ann")


@pytest.mark.parametrize("name", ["metadata", "keypoints", "embeddings", "picture"])
def test_a_missing_file_is_named(name: str) -> None:
    error = refusal(made.package(**{name: None}))
    assert error.details["file"].startswith("neutral_pose" if name == "picture" else name)


@pytest.mark.parametrize("name", ["metadata", "keypoints", "embeddings", "expression_templates"])
@pytest.mark.parametrize(
    "junk",
    [b"", b"{", b"null", b"\xff\xfe", b"[" * 100_000, b'{"x": NaN}'],
    ids=lambda junk: repr(junk[:6]),
)
def test_a_file_that_is_not_the_expected_json_is_named(name: str, junk: bytes) -> None:
    assert refusal(made.package(**{name: junk})).details["file"] == f"{name}.json"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"qualityScore": "high"}, "qualityScore"),
        ({"qualityScore": 101}, "qualityScore"),
        ({"resolution": {"width": 0, "height": 256}}, "resolution.width"),
        ({"resolution": [256, 256]}, "resolution"),
    ],
)
def test_a_bad_metadata_field_is_named(changes: dict[str, Any], field: str) -> None:
    error = refusal(made.package(metadata=made.metadata(**changes)))
    assert (error.details["file"], error.details["field"]) == ("metadata.json", field)
    assert field in error.message


@pytest.mark.parametrize("value", ['"12"', "null", "true", "1e999", "[]"])
def test_a_bad_coordinate_is_named_with_its_place(value: str) -> None:
    text = json.dumps(made.points()).replace(f'"x": {made.points()[5]["x"]}', f'"x": {value}', 1)
    error = refusal(made.package(keypoints=text.encode()))
    assert error.details["file"] == "keypoints.json"


@pytest.mark.parametrize("count", [0, 1, 68, 467, 479])
def test_another_number_of_points_is_refused(count: int) -> None:
    points = (made.points() + made.points())[:count]
    assert f"{count} points" in refusal(made.package(keypoints=points)).message


def test_points_in_fractions_of_the_picture_are_recognised() -> None:
    points = [point | {"x": point["x"] / 256, "y": point["y"] / 256} for point in made.points()]
    assert "fractions" in refusal(made.package(keypoints=points)).message


def test_a_truncated_jpeg_and_a_file_that_is_no_picture_are_refused() -> None:
    assert "cut off" in refusal(made.package(picture=made.jpeg()[:-200])).message
    assert "neutral_pose.jpg" in refusal(made.package(picture=b"not a picture")).message


def test_an_empty_folder_is_no_face_model_and_a_huge_file_is_not_read() -> None:
    with pytest.raises(LipSyncError) as absent:
        check_listing("ann", "f", [])
    assert absent.value.code is LipSyncErrorCode.FACE_MODEL_NOT_FOUND
    names = ("metadata.json", "keypoints.json", "embeddings.json", "neutral_pose.jpg")
    with pytest.raises(LipSyncError, match=r"keypoints\.json"):
        check_listing(
            "ann",
            "f",
            [Blob(name, 10**9 if name == "keypoints.json" else 9, "1") for name in names],
        )


def test_a_good_face_suits_every_model() -> None:
    found = check_compatibility(parse(made.package()))
    assert found.issues == ()
    assert found.recommended_model is LipSyncModel.TPSM
    assert set(found.compatible_lip_sync_models) == set(SHIPPED_MODELS)


@pytest.mark.parametrize(
    ("side", "quality", "suited"),
    [
        (127, 90, {"sadtalker", "static"}),
        (128, 90, {"tpsm", "tpsm-neural", "sadtalker", "static"}),
        (255, 69.9, {"tpsm", "tpsm-neural", "static"}),
        (256, 69.9, {"tpsm", "tpsm-neural", "wav2lip", "audio2head", "static"}),
        (256, 70, {"tpsm", "tpsm-neural", "wav2lip", "audio2head", "sadtalker", "static"}),
    ],
)
def test_compatibility_follows_size_and_quality_at_their_limits(
    side: int, quality: float, suited: set[str]
) -> None:
    stated = made.metadata(resolution={"width": side, "height": side}, qualityScore=quality)
    found = check_compatibility(parse(made.package(side, metadata=stated)))
    assert {model.value for model in found.compatible_lip_sync_models} == suited
    assert {model.value for issue in found.issues for model in issue.models} == {
        model.value for model in SHIPPED_MODELS
    } - suited


@pytest.mark.parametrize(
    "place", [(-40.0, 180.0), (128.0, 180.0)], ids=["outside the picture", "no wider than a point"]
)
def test_a_face_without_a_usable_mouth_is_not_for_tpsm(place: tuple[float, float]) -> None:
    points = made.points()
    for index in made.LIPS:
        points[index] |= {"x": place[0], "y": place[1]}
    found = check_compatibility(parse(made.package(keypoints=points)))
    assert [issue.code for issue in found.issues] == ["MOUTH_NOT_FOUND"]
    assert LipSyncModel.TPSM not in found.compatible_lip_sync_models
    assert found.recommended_model is LipSyncModel.WAV2LIP


def _moved(indices: list[int], x: float, y: float) -> list[dict[str, Any]]:
    points = made.points()
    for index in indices:
        points[index] |= {"x": x, "y": y}
    return points


def test_a_face_without_eyes_is_not_for_tpsm() -> None:
    found = check_compatibility(parse(made.package(keypoints=_moved([33, 133], 110.0, 128.0))))
    assert [issue.code for issue in found.issues] == ["EYES_NOT_FOUND"]
    assert not {LipSyncModel.TPSM, LipSyncModel.TPSM_NEURAL} & set(found.compatible_lip_sync_models)


ABSURD = {
    "ten points beyond all pictures": _moved(
        [33, 133, 263, 362, 159, 145, 386, 374, 10, 152], 1e300, -1e300
    ),
    "all in one place": _moved(list(range(478)), 128.0, 128.0),
    "on one line": [point | {"y": 128.0} for point in made.points()],
    "a million times too far": [
        point | {"x": point["x"] * 1e6, "y": point["y"] * 1e6} for point in made.points()
    ],
}


@pytest.mark.parametrize("points", ABSURD.values(), ids=list(ABSURD))
def test_points_that_are_no_face_leave_the_picture_at_rest(points: list[dict[str, Any]]) -> None:
    found = check_compatibility(parse(made.package(keypoints=points)))
    assert found.compatible_lip_sync_models == (LipSyncModel.STATIC,)
    assert "FACE_NOT_FOUND" in {issue.code for issue in found.issues}
    assert "keypoints.json" in found.issues[0].message


def test_a_resolution_that_the_picture_contradicts_is_an_issue_and_the_picture_wins() -> None:
    face = parse(made.package(metadata=made.metadata(resolution={"width": 512, "height": 512})))
    assert (face.resolution.width, face.resolution.height) == (256, 256)
    assert [issue.code for issue in check_compatibility(face).issues] == ["RESOLUTION_MISMATCH"]
    assert "512x512" in check_compatibility(face).issues[0].message
