"""`lipsync render`: render an audio file and a face to an MP4 with sound."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2

from orchestrator.audio.files import Sound, read_sound
from orchestrator.cli.configuration import settings
from orchestrator.cli.terminal import Progress, explain
from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.errors import LipSyncError, invalid_field
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import LipSyncModel, Resolution, VideoGenerationConfig
from orchestrator.faces.enrolment.enrol import enrol_photo
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.layout import DEMO_USER
from orchestrator.faces.storage.open_store import open_store
from orchestrator.faces.storage.store import FaceStore
from orchestrator.inference import ContractError
from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.open_inference import open_inference
from orchestrator.models import ADAPTERS
from orchestrator.pipeline.offline_renderer import PATIENCE_MS, OfflineRenderer, Wish
from orchestrator.pipeline.render_mp4 import film, frames_of

PHOTO_USER: Final = "local"
PHOTO_FACE: Final = "photo"
PICTURE_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".avif"}
)
"""Suffixes that mean a photo even where no such file exists."""

CONSENT: Final = (
    "Rendering a photo is your statement that the person in it agreed to be animated; the photo "
    "is not stored."
)


@dataclass(frozen=True, slots=True)
class _Result:
    frames: int
    sound_s: float
    elapsed_s: float


def run(options: argparse.Namespace) -> int:
    """Exit status 0 when the MP4 is written, 1 with an explanation, 2 for invalid options."""
    logging.basicConfig(
        level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    cv2.setNumThreads(1)
    misuse = _misuse(options)
    if misuse is not None:
        print(f"lipsync: {misuse}", file=sys.stderr)
        return 2
    try:
        result = asyncio.run(_render(settings(options), options))
    except (ConfigError, ContractError, LipSyncError, OSError) as error:
        return explain(error)
    speed = result.sound_s / result.elapsed_s
    print(
        f"{options.output}: {result.frames} frames, {result.sound_s:.2f} s, made in "
        f"{result.elapsed_s:.1f} s ({speed:.1f} x real time)"
    )
    return 0


def _misuse(options: argparse.Namespace) -> str | None:
    """The fault of the options, or None. An input file is never overwritten."""
    output: Path = options.output
    if options.model not in ADAPTERS:
        return f"--model {options.model}: choose one of {', '.join(ADAPTERS)}"
    if output.is_dir():
        return f"--output {output}: is a folder; name the MP4 in it"
    if not output.parent.is_dir():
        return f"--output {output}: there is no folder {output.parent}"
    if any(_is_same(output, source) for source in (options.audio, Path(options.face))):
        return f"--output {output}: is a file that is read here; name another one"
    return None


def _is_same(output: Path, source: Path) -> bool:
    """True where both paths are one file, links included."""
    return output.exists() and source.exists() and output.samefile(source)


async def _render(config: ServiceConfig, options: argparse.Namespace) -> _Result:
    sound = await asyncio.to_thread(read_sound, options.audio)
    with tempfile.TemporaryDirectory(prefix="lipsync-render-") as folder:
        store, user_id, face_id = await _face(config, options, Path(folder))
        video = VideoGenerationConfig(options.fps, Resolution(options.size, options.size))
        wish = Wish(user_id, face_id, LipSyncModel(options.model), video)
        repository = read_repository(config.model_repository)
        async with open_inference(config) as inference:
            began = time.monotonic()
            faces = FaceModelCacheService(store, encoding_deadline_s=PATIENCE_MS / 1000.0)
            renderer = OfflineRenderer(config, faces, inference, repository, Metrics())
            frames = await _write(renderer, wish, sound, options.output)
            return _Result(frames, sound.duration_s, time.monotonic() - began)


async def _face(
    config: ServiceConfig, options: argparse.Namespace, folder: Path
) -> tuple[FaceStore, str, str]:
    """Store, owner and id of the face. A photo is enrolled in `folder`, for this run only."""
    photo = _photo(options.face)
    if photo is None:
        return open_store(config.storage, config.bucket), options.user or DEMO_USER, options.face
    print(CONSENT, file=sys.stderr)
    store, user_id = open_store(folder), options.user or PHOTO_USER
    await enrol_photo(photo, user_id=user_id, face_id=PHOTO_FACE, store=store, consent=True)
    return store, user_id, PHOTO_FACE


def _photo(face: str) -> bytes | None:
    """The photo's bytes, or None where `face` is the id of an enrolled face."""
    path = Path(face)
    if path.is_file():
        return path.read_bytes()
    if path.suffix.lower() in PICTURE_SUFFIXES or len(path.parts) != 1:
        raise invalid_field(
            "--face", f"{face} does not exist; name a photo, or the id of an enrolled face"
        )
    return None


async def _write(renderer: OfflineRenderer, wish: Wish, sound: Sound, path: Path) -> int:
    """Write the MP4 with a progress bar; return the number of frames."""
    model = " ".join(filter(None, (wish.model.value, renderer.weights_warning(wish.model))))
    with Progress(f"rendering with {model}", frames_of(sound, wish), unit="frames") as progress:

        async def show(done: int) -> None:
            progress.show(done)

        return await film(renderer, wish, sound, path, show)
