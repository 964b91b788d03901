"""Faces over HTTP: enrol a photo, list, read, preview, delete."""

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
from orchestrator.server.http import schemas
from orchestrator.server.http.context import CONFIG, SERVICE, json_response, text_field
from orchestrator.server.http.uploads import Upload, read_form, upload_of
from orchestrator.sessions.first_faces import FIRST_SIZE, OTHER_SIZES

PREVIEW_QUALITY: Final = 90
"""JPEG quality of the preview, 1 to 100."""


async def enrol(request: web.Request) -> web.Response:
    """Enrol the multipart field `photo` with `consent=true` and optionally `id`.

    Responds 422 with reasons for a photo that cannot be used.
    """
    app = request.app
    async with upload_of(request) as upload:
        face = await _enrol(request, upload)
    app[SERVICE].faces.hold(face)
    await app[SERVICE].pipeline.faces.prepare_face(
        face, (app[CONFIG].default_model, LipSyncModel.STATIC), FIRST_SIZE
    )
    app[SERVICE].pipeline.faces.prepare_later(face, (LipSyncModel.STATIC,), OTHER_SIZES)
    return json_response(_face(face), 201)


async def _enrol(request: web.Request, upload: Upload) -> FaceModel:
    if not request.content_type.startswith("multipart/"):
        raise invalid_field(
            "photo", "is missing; send a multipart form with the fields `photo` and `consent`"
        )
    form = await read_form(request, upload, {"photo": MAX_PHOTO_BYTES})
    if not form.get("photo"):
        raise invalid_field("photo", "is missing; send the picture as the multipart field `photo`")
    face_id = text_field(form, "id")
    if face_id is not None:
        check_id(face_id, "id")
    if (request.match_info["userId"], face_id) == (DEMO_USER, DEMO_FACE):
        raise invalid_field("id", "the demo face cannot be replaced; choose another id")
    return await enrol_photo(
        form["photo"],
        user_id=request.match_info["userId"],
        face_id=face_id,
        store=request.app[SERVICE].store,
        consent=text_field(form, "consent") == "true",
    )


async def list_faces(request: web.Request) -> web.Response:
    """Ids of a user's face models."""
    ids = await request.app[SERVICE].faces.list_face_models(request.match_info["userId"])
    return json_response(schemas.FaceModels(list(ids)))


async def get_face(request: web.Request) -> web.Response:
    """One face model, with the models that can drive it."""
    face = await _load(request)
    compatibility = request.app[SERVICE].faces.validate_compatibility(face)
    return json_response(
        schemas.FaceModelDetails(
            **_fields(face),
            compatible_lip_sync_models=[
                model.value for model in compatibility.compatible_lip_sync_models
            ],
            recommended_model=compatibility.recommended_model.value,
            issues=[schemas.Issue(issue.code, issue.message) for issue in compatibility.issues],
        )
    )


async def delete_face(request: web.Request) -> web.Response:
    """Delete a face model and everything derived from it."""
    await request.app[SERVICE].faces.delete_face_model(
        request.match_info["userId"], request.match_info["faceModelId"]
    )
    return web.Response(status=204)


async def preview(request: web.Request) -> web.Response:
    """The face's neutral pose as JPEG."""
    face = await _load(request)
    picture = await asyncio.to_thread(
        simplejpeg.encode_jpeg, face.neutral_pose, PREVIEW_QUALITY, "RGB"
    )
    return web.Response(body=picture, content_type="image/jpeg")


async def _load(request: web.Request) -> FaceModel:
    return await request.app[SERVICE].faces.load_face_model(
        request.match_info["userId"], request.match_info["faceModelId"]
    )


def _face(face: FaceModel) -> schemas.FaceModel:
    return schemas.FaceModel(**_fields(face))


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
