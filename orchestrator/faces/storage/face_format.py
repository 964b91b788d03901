"""Serialisation of face models: files of a folder to and from `FaceModel`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec

from orchestrator.core.types import FaceModel, Keypoint, Resolution, RgbImage
from orchestrator.faces.image_decoding import PictureError, decode_picture
from orchestrator.faces.storage.face_listing import (
    EMBEDDINGS,
    EXPRESSIONS,
    KEYPOINTS,
    METADATA,
    PICTURE,
    unusable_face,
)
from orchestrator.faces.storage.replacement import unpacked
from orchestrator.rendering.landmarks import POINT_COUNTS

EXPRESSIONS_FIELD: Final = "expressionTemplates"
"""Key of the optional expression templates in `FaceModel.metadata`."""

T = TypeVar("T")


class _Resolution(msgspec.Struct):
    width: Annotated[int, msgspec.Meta(ge=1)]
    height: Annotated[int, msgspec.Meta(ge=1)]


class _Metadata(msgspec.Struct, rename="camel"):
    resolution: _Resolution
    quality_score: Annotated[float, msgspec.Meta(ge=0, le=100)]
    created_at: str | int | float | None = None


class _Point(msgspec.Struct):
    x: float
    y: float
    confidence: float | None = None
    landmark: str | int | None = None


class _Embedding(msgspec.Struct):
    vector: list[float]
    confidence: float | None = None


class _Expression(msgspec.Struct):
    name: str
    keypoints: list[Any] = []
    blendshapes: list[Any] | dict[str, Any] = []


def unpacked_face(model_id: str, name: str, data: bytes) -> dict[str, bytes]:
    """Decode the files in a replacement; FACE_MODEL_INCOMPATIBLE for other content."""
    try:
        return unpacked(data)
    except ValueError as error:
        raise unusable_face(model_id, name, str(error)) from error


def parse_face_model(
    user_id: str, model_id: str, files: Mapping[str, bytes], version: str
) -> FaceModel:
    """Decode the face model in `files` (bytes by name); ids are those of its path.

    Unknown fields are ignored. `resolution` is that of the picture, so that it always fits the key
    points; the stated one stays in `metadata`. Raises FACE_MODEL_INCOMPATIBLE naming the file, and
    the field where there is one.
    """
    metadata = _decode(model_id, METADATA, files, _Metadata)
    keypoints = _keypoints(model_id, _decode(model_id, KEYPOINTS, files, list[_Point]))
    embeddings = _decode(model_id, EMBEDDINGS, files, list[_Embedding])
    extra = _decode(model_id, METADATA, files, dict[str, Any])
    if EXPRESSIONS in files:
        _decode(model_id, EXPRESSIONS, files, list[_Expression])
        extra[EXPRESSIONS_FIELD] = msgspec.json.decode(files[EXPRESSIONS])
    picture = _picture(model_id, files)
    return FaceModel(
        id=model_id,
        user_id=user_id,
        resolution=Resolution(picture.shape[1], picture.shape[0]),
        keypoints=keypoints,
        neutral_pose=picture,
        quality_score=metadata.quality_score,
        created_at="" if metadata.created_at is None else str(metadata.created_at),
        version=version,
        embeddings=tuple(tuple(embedding.vector) for embedding in embeddings),
        metadata=extra,
    )


def serialise_face_model(face: FaceModel, picture_jpeg: bytes) -> dict[str, bytes]:
    """Encode the files of a face model, metadata last.

    `picture_jpeg` is `face.neutral_pose` as it is stored.
    """
    metadata = {key: value for key, value in face.metadata.items() if key != EXPRESSIONS_FIELD} | {
        "id": face.id,
        "userId": face.user_id,
        "resolution": {"width": face.resolution.width, "height": face.resolution.height},
        "qualityScore": face.quality_score,
        "createdAt": face.created_at,
    }
    points = [
        {"x": p.x, "y": p.y, "confidence": p.confidence, "landmark": p.landmark}
        for p in face.keypoints
    ]
    files = {
        PICTURE: picture_jpeg,
        KEYPOINTS: msgspec.json.encode(points),
        EMBEDDINGS: msgspec.json.encode(
            [{"vector": vector, "confidence": 1.0} for vector in face.embeddings]
        ),
    }
    if EXPRESSIONS_FIELD in face.metadata:
        files[EXPRESSIONS] = msgspec.json.encode(face.metadata[EXPRESSIONS_FIELD])
    return files | {METADATA: msgspec.json.format(msgspec.json.encode(metadata), indent=2)}


def _decode(model_id: str, name: str, files: Mapping[str, bytes], kind: type[T]) -> T:
    if name not in files:
        raise unusable_face(model_id, name, "the file is missing")
    try:
        return msgspec.json.decode(files[name], type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        message, _, place = str(error).partition(" - at ")
        field = place.strip("`").removeprefix("$").removeprefix(".")
        raise unusable_face(model_id, name, message, field) from error


def _keypoints(model_id: str, points: list[_Point]) -> tuple[Keypoint, ...]:
    if len(points) not in POINT_COUNTS:
        raise unusable_face(
            model_id,
            KEYPOINTS,
            f"{len(points)} points, expected the 468 or 478 of the MediaPipe face mesh",
        )
    if all(abs(point.x) <= 1.5 and abs(point.y) <= 1.5 for point in points):
        raise unusable_face(
            model_id,
            KEYPOINTS,
            "the points look like fractions of the picture, expected pixels",
            "[*].x",
        )
    return tuple(
        Keypoint(
            x=point.x,
            y=point.y,
            confidence=1.0 if point.confidence is None else point.confidence,
            landmark="" if point.landmark is None else str(point.landmark),
        )
        for point in points
    )


def _picture(model_id: str, files: Mapping[str, bytes]) -> RgbImage:
    """Decode as stored, without EXIF rotation: the key points are pixels of the file."""
    if PICTURE not in files:
        raise unusable_face(model_id, PICTURE, "the file is missing")
    try:
        return decode_picture(files[PICTURE], upright=False)
    except PictureError as error:
        raise unusable_face(model_id, PICTURE, str(error)) from error
