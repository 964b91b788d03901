"""Enrolment: find, frame and measure the face in a photo, and store it if it is good enough."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode, invalid_field
from orchestrator.core.types import FaceModel, Keypoint, Resolution, RgbImage
from orchestrator.faces.active_face import settle_active
from orchestrator.faces.enrolment.face_mesh import Mesh
from orchestrator.faces.enrolment.framing import Framing, crown_of, cut_out, frame_head
from orchestrator.faces.enrolment.geometry_descriptor import describe
from orchestrator.faces.enrolment.landmarks import extent, find_faces, mesh_of_square
from orchestrator.faces.enrolment.photo_measurements import Measurements, measure
from orchestrator.faces.enrolment.photo_quality import Assessment, Finding, assess
from orchestrator.faces.ids import check_id
from orchestrator.faces.image_decoding import PictureError, decode_picture, encode_jpeg
from orchestrator.faces.storage.face_format import serialise_face_model
from orchestrator.faces.storage.layout import face_prefix
from orchestrator.faces.storage.read_face import read_face_model
from orchestrator.faces.storage.store import FaceStore
from orchestrator.rendering.landmarks import FACE_OVAL

MAX_PHOTO_BYTES: Final = 20 * 1024 * 1024
"""Larger uploads are refused before they are decoded."""

MIN_DOMINANT_AREA_RATIO: Final = 2.0
"""Area of the largest face over that of the next one, from which it counts as the subject."""

LAYOUT_VERSION: Final = "1"

_EXECUTOR: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="enrolment")
"""Single thread for photos.

It bounds the memory for large photos, and keeps the threads of live sessions free.
"""

_NO_FACE: Final = Finding(
    "NO_FACE", "no face was found: show one face from the front, upright and well lit", 0
)
_PICTURE_CODES: Final = {
    "format": "NOT_A_PICTURE",
    "size": "PICTURE_TOO_LARGE",
    "damaged": "PICTURE_DAMAGED",
}


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """Result of the analysis of a photo that is stored."""

    picture: RgbImage
    """`[size, size, 3]`, 256 to 512 pixels a side."""
    points: Mesh
    """`[478, 3]`, pixels of `picture`."""
    measurements: Measurements
    assessment: Assessment


async def enrol_photo(
    data: bytes,
    *,
    user_id: str,
    face_id: str | None,
    store: FaceStore,
    consent: bool,
    now: datetime | None = None,
) -> FaceModel:
    """Store the face in a JPEG, PNG or WebP photo and return it as stored.

    It becomes the active face where the user has none. Without `face_id` the id is derived from the
    photo's bytes. An existing face model of that id is replaced at once.

    Raises INVALID_MESSAGE for a malformed id or missing consent, and FACE_MODEL_INCOMPATIBLE for an
    unsuitable photo, with code, message and measured value of each of `details["reasons"]`. Raises
    MODEL_LOAD_FAILED when the face networks have not been fetched.
    """
    check_id(user_id, "userId")
    face_id = (
        f"face-{hashlib.sha256(data).hexdigest()[:12]}"
        if face_id is None
        else check_id(face_id, "faceModelId")
    )
    if consent is not True:
        raise invalid_field(
            "consent", "must be true: the person in the photo has to consent to be animated"
        )
    portrait = await asyncio.get_running_loop().run_in_executor(_EXECUTOR, analyse_photo, data)
    files = await asyncio.to_thread(_files, portrait, user_id, face_id, now or datetime.now(UTC))
    await store.replace(face_prefix(user_id, face_id), files)
    await settle_active(store, user_id, enrolled=face_id)
    return await read_face_model(store, user_id, face_id)


def analyse_photo(data: bytes) -> Portrait:
    """Frame and measure a photo; FACE_MODEL_INCOMPATIBLE with reasons for an unsuitable one."""
    photo = _decode(data)
    mesh = _subject(find_faces(photo))
    framing = frame_head(mesh, (photo.shape[1], photo.shape[0]))
    cut_off = _cut_off(mesh, photo, framing)
    if cut_off:
        raise refused(cut_off)
    picture = cut_out(photo, framing)
    points = mesh_of_square(picture)
    if points is None:
        raise refused([_NO_FACE])
    measurements = measure(
        picture, points, face_height_px=framing.face_length, uncovered=framing.uncovered
    )
    assessment = assess(measurements)
    if assessment.reasons:
        raise refused(assessment.reasons)
    return Portrait(picture, points, measurements, assessment)


def refused(reasons: Iterable[Finding]) -> LipSyncError:
    """Error for an unsuitable photo."""
    found = [asdict(reason) for reason in reasons]
    message = "photo: " + "; ".join(str(reason["message"]) for reason in found)
    details = {"field": "photo", "reasons": found}
    return LipSyncError(
        LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, message, recoverable=True, details=details
    )


def _decode(data: bytes) -> RgbImage:
    if len(data) > MAX_PHOTO_BYTES:
        message = (
            f"the file is too large: at most {MAX_PHOTO_BYTES // 1024 // 1024} MiB are accepted"
        )
        raise refused([Finding("FILE_TOO_LARGE", message, len(data))])
    try:
        return decode_picture(data)
    except PictureError as error:
        raise refused([Finding(_PICTURE_CODES[error.kind], str(error), len(data))]) from error


def _subject(meshes: list[Mesh]) -> Mesh:
    if not meshes:
        raise refused([_NO_FACE])
    if len(meshes) > 1 and extent(meshes[0]) < MIN_DOMINANT_AREA_RATIO * extent(meshes[1]):
        raise refused(
            [
                Finding(
                    "SEVERAL_FACES",
                    "several faces are in the photo: send one that shows a single person",
                    len(meshes),
                )
            ]
        )
    return meshes[0]


def _cut_off(mesh: Mesh, photo: RgbImage, framing: Framing) -> list[Finding]:
    """Finding where the face leaves the photo; a crown may be cut by a fifth of a face."""
    margin = 0.02 * framing.face_length
    outside = _share_outside(mesh[list(FACE_OVAL), :2], photo, margin)
    crown = _share_outside(crown_of(mesh)[None], photo, 0.2 * framing.face_length)
    if outside == 0.0 and crown == 0.0:
        return []
    part = "face" if outside else "top of the head"
    return [
        Finding(
            "HEAD_CUT_OFF",
            f"the {part} is cut off at the edge of the photo: show the whole head",
            round(outside, 3),
        )
    ]


def _share_outside(points: NDArray[np.float64], photo: RgbImage, margin: float) -> float:
    height, width = photo.shape[:2]
    outside = np.any((points < -margin) | (points > np.array((width, height)) + margin), axis=1)
    return float(outside.mean())


def _files(portrait: Portrait, user_id: str, face_id: str, now: datetime) -> dict[str, bytes]:
    moment = now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    height, width = portrait.picture.shape[:2]
    face = FaceModel(
        id=face_id,
        user_id=user_id,
        resolution=Resolution(width, height),
        keypoints=tuple(
            Keypoint(round(float(x), 2), round(float(y), 2), 1.0, str(i))
            for i, (x, y, _) in enumerate(portrait.points)
        ),
        neutral_pose=portrait.picture,
        quality_score=portrait.assessment.score,
        created_at=moment,
        embeddings=(describe(portrait.points),),
        metadata={
            "version": LAYOUT_VERSION,
            "consent": True,
            "consentAt": moment,
            "warnings": [asdict(warning) for warning in portrait.assessment.warnings],
            "measurements": {
                name: round(value, 4) for name, value in asdict(portrait.measurements).items()
            },
        },
    )
    return serialise_face_model(face, encode_jpeg(portrait.picture))
