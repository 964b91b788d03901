"""The files of one face model and the frozen record they stand for, both ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, TypeVar

import msgspec

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel, Keypoint, Resolution, RgbImage
from orchestrator.faces.image_decoding import PictureError, decode_picture
from orchestrator.faces.storage.layout import Blob, is_derived
from orchestrator.faces.storage.replacement import is_replacement, replacement_in, unpacked
from orchestrator.rendering.landmarks import POINT_COUNTS

METADATA: Final = "metadata.json"
KEYPOINTS: Final = "keypoints.json"
EMBEDDINGS: Final = "embeddings.json"
EXPRESSIONS: Final = "expression_templates.json"
PICTURE: Final = "neutral_pose.jpg"
REQUIRED: Final = (METADATA, KEYPOINTS, EMBEDDINGS, PICTURE)
READ: Final = (*REQUIRED, EXPRESSIONS)
"""Other files of the folder are left alone."""

MAX_FILE_BYTES: Final = 32 * 1024 * 1024
"""No file of a face model is read beyond this."""

EXPRESSIONS_FIELD: Final = "expressionTemplates"
"""Where `FaceModel.metadata` keeps the optional expression templates."""

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


def face_ids(blobs: Iterable[Blob]) -> tuple[str, ...]:
    """Ids of the faces in a listing of their user's folder, sorted: those that are written to their
    end.
    """
    parts = [
        blob.key.split("/")
        for blob in blobs
        if is_replacement(blob.key) or blob.key.endswith(f"/{METADATA}")
    ]
    return tuple(sorted({part[2] for part in parts if len(part) == 4}))


def is_unfinished(blobs: Iterable[Blob]) -> bool:
    """Whether a face's folder is being written, or removed: the metadata, which completes a face,
    is written last and removed first.
    """
    names = _sizes(blobs).keys()
    return (
        bool(names)
        and METADATA not in names
        and not any(is_replacement(blob.key) for blob in blobs)
    )


def check_listing(user_id: str, model_id: str, blobs: Iterable[Blob]) -> None:
    """FACE_MODEL_NOT_FOUND when the folder is empty, FACE_MODEL_INCOMPATIBLE naming a file that is
    missing or too big.

    `recoverable` where that file is the metadata: the face is there in a moment, unless its writer
    gave up.
    """
    blobs = tuple(blobs)
    sizes, whole = _sizes(blobs), replacement_in(blobs)
    if not sizes:
        raise face_not_found(user_id, model_id)
    if is_unfinished(blobs):
        raise _incompatible(
            model_id,
            METADATA,
            "the file is missing: the face is being written, or was not to its end",
            recoverable=True,
        )
    required, read = (REQUIRED, READ) if whole is None else ((), (_name_of(whole),))
    for name in required:
        if name not in sizes:
            raise _incompatible(model_id, name, "the file is missing")
    for name in read:
        if sizes.get(name, 0) > MAX_FILE_BYTES:
            raise _incompatible(
                model_id, name, f"{sizes[name]} bytes, at most {MAX_FILE_BYTES} are read"
            )


def unpacked_face(model_id: str, name: str, data: bytes) -> dict[str, bytes]:
    """The files in a replacement; FACE_MODEL_INCOMPATIBLE where it holds none."""
    try:
        return unpacked(data)
    except ValueError as error:
        raise _incompatible(model_id, name, str(error)) from error


def parse_face_model(
    user_id: str, model_id: str, files: Mapping[str, bytes], version: str
) -> FaceModel:
    """The face model in `files` (bytes by name). Unknown fields are ignored; ids are those of the
    path it lay under.

    `resolution` is the picture's own, so that it always fits the key points; what the metadata
    state stays in `metadata`. Raises FACE_MODEL_INCOMPATIBLE naming the file, and the field where
    there is one.
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
    """The files of a face model, metadata last; `picture_jpeg` is `face.neutral_pose` as it was or
    is to be stored.
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


def face_not_found(user_id: str, model_id: str) -> LipSyncError:
    """The one wording for a face model that is not there."""
    message = f"no face model {model_id!r} for user {user_id!r}"
    return LipSyncError(
        LipSyncErrorCode.FACE_MODEL_NOT_FOUND,
        message,
        recoverable=False,
        details={"field": "faceModelId"},
    )


def _decode(model_id: str, name: str, files: Mapping[str, bytes], kind: type[T]) -> T:
    if name not in files:
        raise _incompatible(model_id, name, "the file is missing")
    try:
        return msgspec.json.decode(files[name], type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        message, _, place = str(error).partition(" - at ")
        field = place.strip("`").removeprefix("$").removeprefix(".")
        raise _incompatible(model_id, name, message, field) from error


def _keypoints(model_id: str, points: list[_Point]) -> tuple[Keypoint, ...]:
    if len(points) not in POINT_COUNTS:
        raise _incompatible(
            model_id,
            KEYPOINTS,
            f"{len(points)} points, expected the 468 or 478 of the MediaPipe face mesh",
        )
    if all(abs(point.x) <= 1.5 and abs(point.y) <= 1.5 for point in points):
        raise _incompatible(
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
    """As stored, not turned by EXIF: the key points are in pixels of the file."""
    if PICTURE not in files:
        raise _incompatible(model_id, PICTURE, "the file is missing")
    try:
        return decode_picture(files[PICTURE], upright=False)
    except PictureError as error:
        raise _incompatible(model_id, PICTURE, str(error)) from error


def _sizes(blobs: Iterable[Blob]) -> dict[str, int]:
    return {_name_of(blob): blob.size_bytes for blob in blobs if not is_derived(blob.key)}


def _name_of(blob: Blob) -> str:
    return blob.key.rsplit("/", 1)[-1]


def _incompatible(
    model_id: str, name: str, message: str, field: str = "", *, recoverable: bool = False
) -> LipSyncError:
    where = f"{name}, field {field}" if field else name
    details = {"faceModelId": model_id, "file": name} | ({"field": field} if field else {})
    text = f"face model {model_id!r} cannot be used: {where}: {message}"
    return LipSyncError(
        LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, text, recoverable=recoverable, details=details
    )
