"""`lipsync enroll`: store a photo as a face model, or print why it cannot be used."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shlex
import sys

from orchestrator.cli.configuration import settings
from orchestrator.cli.terminal import explain
from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.errors import LipSyncError
from orchestrator.core.types import FaceModel, LipSyncModel
from orchestrator.faces.enrolment.enrol import enrol_photo
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.open_store import open_store
from orchestrator.models import ADAPTERS
from orchestrator.rendering.face_maps import SIZES

NO_CONSENT = (
    "enrolling needs --consent: with it you state that the person in the photo agreed to be "
    "animated; it is recorded with the face"
)


def run(options: argparse.Namespace) -> int:
    """Exit status 0 when the face is stored, 1 for a refused photo, 2 without consent."""
    logging.basicConfig(
        level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    if not options.consent:
        print(f"lipsync: {NO_CONSENT}", file=sys.stderr)
        return 2
    try:
        config = settings(options)
        face = asyncio.run(_enrol(config, options))
    except (ConfigError, LipSyncError, OSError) as error:
        return explain(error)
    print(_described(face, config))
    return 0


async def _enrol(config: ServiceConfig, options: argparse.Namespace) -> FaceModel:
    photo = await asyncio.to_thread(options.photo.read_bytes)
    store = open_store(config.storage, config.bucket)
    face = await enrol_photo(
        photo, user_id=options.user, face_id=options.id, store=store, consent=True
    )
    await _prepare(face, FaceModelCacheService(store))
    return face


async def _prepare(face: FaceModel, faces: FaceModelCacheService) -> None:
    """Compute and store the face's maps for all sizes: its first turn does not wait for them."""
    for size in SIZES:
        await faces.optimize_for_model(face, ADAPTERS[LipSyncModel.STATIC], size)
    await faces.close()


def _described(face: FaceModel, config: ServiceConfig) -> str:
    size = face.resolution
    place = f"the bucket {config.bucket}" if config.bucket else config.storage
    lines = [
        f"face {face.id} of user {face.user_id} stored in {place} ({size.width}x{size.height} "
        "pixels)",
        f"quality {face.quality_score:.0f} of 100",
        *(f"warning: {warning['message']}" for warning in face.metadata.get("warnings", ())),
        f"try it: lipsync render AUDIO {shlex.join(_storage_options(config))} "
        f"--user {face.user_id} --face {face.id} -o out.mp4",
    ]
    return "\n".join(lines)


def _storage_options(config: ServiceConfig) -> list[str]:
    return ["--bucket", config.bucket] if config.bucket else ["--storage", str(config.storage)]
