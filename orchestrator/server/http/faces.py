"""Faces over HTTP: enrolled from a photo, listed, shown, deleted."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import simplejpeg
from aiohttp import web

from orchestrator.core.errors import invalid_field
from orchestrator.core.types import FaceModel, LipSyncModel
from orchestrator.faces.enrolment.enrol import MAX_PHOTO_BYTES, enrol_photo
from orchestrator.faces.ids import check_id
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER
from orchestrator.protocol import WireResolution
from orchestrator.server.http import schemas as answers
from orchestrator.server.http.context import CONFIG, SERVICE, answer, text_of
from orchestrator.server.http.uploads import Upload, read_form, upload_of
from orchestrator.sessions.first_faces import FIRST_SIZE, OTHER_SIZES

PREVIEW_QUALITY: Final = 90


async def enrol(request: web.Request) -> web.Response:
    """Multipart `photo`, `consent=true` and optionally `id`: a new face model, or 422 with
    reasons.
    """
    app = request.app
    async with upload_of(request) as upload:
        face = await _enrol(request, upload)
    app[SERVICE].faces.hold(face)
    await app[SERVICE].pipeline.prepare_face(
        face, (app[CONFIG].default_model, LipSyncModel.STATIC), FIRST_SIZE
    )
    app[SERVICE].pipeline.prepare_later(face, (LipSyncModel.STATIC,), OTHER_SIZES)
    return answer(_face(face), 201)


async def _enrol(request: web.Request, upload: Upload) -> FaceModel:
    if not request.content_type.startswith("multipart/"):
        raise invalid_field(
            "photo", "is missing; send a multipart form with the fields `photo` and `consent`"
        )
    form = await read_form(request, upload, {"photo": MAX_PHOTO_BYTES})
    if not form.get("photo"):
        raise invalid_field("photo", "is missing; send the picture as the multipart field `photo`")
    face_id = text_of(form, "id")
    if face_id is not None:
        check_id(face_id, "id")
    if (request.match_info["user"], face_id) == (DEMO_USER, DEMO_FACE):
        raise invalid_field(
            "id", "the demo face is part of the product and cannot be changed; choose another id"
        )
    return await enrol_photo(
        form["photo"],
        user_id=request.match_info["user"],
        face_id=face_id,
        store=request.app[SERVICE].store,
        consent=text_of(form, "consent") == "true",
    )


async def list_faces(request: web.Request) -> web.Response:
    """Ids of a user's face models."""
    ids = await request.app[SERVICE].faces.list_face_models(request.match_info["user"])
    return answer(answers.FaceModels(list(ids)))


async def get_face(request: web.Request) -> web.Response:
    """One face model's description."""
    face = await _load(request)
    compatibility = request.app[SERVICE].faces.validate_compatibility(face)
    return answer(
        answers.FaceModelDetails(
            **_fields(face),
            compatible_lip_sync_models=[
                model.value for model in compatibility.compatible_lip_sync_models
            ],
            recommended_model=compatibility.recommended_model.value,
            issues=[answers.Issue(issue.code, issue.message) for issue in compatibility.issues],
        )
    )


async def delete_face(request: web.Request) -> web.Response:
    """Remove a face model."""
    await request.app[SERVICE].faces.delete_face_model(
        request.match_info["user"], request.match_info["face"]
    )
    return web.Response(status=204)


async def preview(request: web.Request) -> web.Response:
    """The neutral pose as JPEG."""
    face = await _load(request)
    picture = await asyncio.to_thread(
        simplejpeg.encode_jpeg, face.neutral_pose, PREVIEW_QUALITY, "RGB"
    )
    return web.Response(body=picture, content_type="image/jpeg")


async def _load(request: web.Request) -> FaceModel:
    return await request.app[SERVICE].faces.load_face_model(
        request.match_info["user"], request.match_info["face"]
    )


def _face(face: FaceModel) -> answers.FaceModel:
    return answers.FaceModel(**_fields(face))


def _fields(face: FaceModel) -> dict[str, Any]:
    consent_at = face.metadata.get("consentAt")
    return {
        "id": face.id,
        "user_id": face.user_id,
        "quality_score": face.quality_score,
        "resolution": WireResolution(face.resolution.width, face.resolution.height),
        "created_at": face.created_at,
        "consent_at": consent_at if isinstance(consent_at, str) else None,
    }
