"""Whether batching ever shows one session another's face: `python -m benchmarks.mixed_faces
--frames 10000`.

Sessions with the same portrait, tinted red in one and blue in the next, speak at once through a
real Triton, as fast as it draws: enough of them that requests wait and are run together. Every
frame is looked at: the whole picture, and the mouth alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import cv2
import numpy as np
import simplejpeg

from orchestrator.audio.files import read_audio
from orchestrator.core.config import ServiceConfig
from orchestrator.core.paths import SAMPLES, SHIPPED_FACES
from orchestrator.core.types import (
    AudioChunk,
    AudioFormat,
    LipSyncModel,
    Resolution,
    RgbImage,
    VideoGenerationConfig,
)
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, face_prefix
from orchestrator.inference import Inference
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.triton.inference import TritonInference
from orchestrator.sessions.service import LipSyncRequest, LipSyncService

TINTS: Final = {"red": (1.0, 0.5, 0.5), "blue": (0.5, 0.5, 1.0)}
"""By what a portrait's red, green and blue are multiplied."""

MOUTH: Final = (slice(0.5, 0.9), slice(0.3, 0.7))
"""Rows and columns around it, as shares of the picture."""

MODELS: Final = ("audio2motion", "tpsm", "tpsm_speech")
SIZE: Final = 128
FPS: Final = 25.0
CHUNK_SAMPLES: Final = 2560
"""160 ms: four frames, one request."""

CHUNKS_PER_TURN: Final = 60

SESSIONS_PER_FACE: Final = 4
"""Two instances draw, so that most requests find both busy and wait for company."""


@dataclass(slots=True)
class Mixing:
    """What came back."""

    frames: int = 0
    mixed: int = 0
    """Frames that show anything of the other face."""
    by_triton: int = 0
    """Frames that `tpsm` drew."""
    requests: int = 0
    executions: int = 0
    """Of `tpsm`, by Triton's own count; fewer than requests: sessions shared them."""
    seconds: float = 0.0


def main() -> int:
    """Exit status 0 when no frame was mixed and requests were batched."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mixed_faces", description="Tinted faces batched together."
    )
    parser.add_argument(
        "--frames", type=int, default=10_000, help="of all sessions together (default 10000)"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mixing = asyncio.run(mix(options.frames, Path(folder)))
    print(
        f"{mixing.frames} frames in {mixing.seconds:.0f} s, {mixing.by_triton} of them drawn by "
        f"Triton in {mixing.executions} executions of {mixing.requests} requests: {mixing.mixed} "
        "mixed"
    )
    return 0 if mixing.mixed == 0 and mixing.executions < mixing.requests else 1


async def mix(frames: int, storage: Path) -> Mixing:
    """All sessions until they have drawn so many frames together; the faces are put into
    `storage`.
    """
    for face, tint in TINTS.items():
        _enrol(storage, face, tint)
    config = ServiceConfig(
        storage=storage,
        frame_cache_ttl=0.0,
        chunk_deadline_ms=10_000,
        enable_adaptive_model_selection=False,
    )
    speech = np.concatenate([read_audio(file) for file in sorted(SAMPLES.glob("*.wav"))])
    pcm, mixing, began_s = np.rint(speech * 32767.0).astype("<i2"), Mixing(), time.monotonic()
    async with EmbeddedTriton(config.model_repository, MODELS) as server:

        @asynccontextmanager
        async def through_triton() -> AsyncIterator[Inference]:
            async with TritonInference(
                [server], read_repository(config.model_repository)
            ) as inference:
                yield inference

        async with (
            LipSyncService(config=config, open_inference=through_triton) as service,
            asyncio.TaskGroup() as sessions,
        ):
            for number in range(SESSIONS_PER_FACE):
                for face in TINTS:
                    each = frames // (SESSIONS_PER_FACE * len(TINTS))
                    sessions.create_task(
                        _speak(service, f"{face}-{number}", face, pcm.tobytes(), each, mixing),
                        name=face,
                    )
        mixing.requests, mixing.executions = await _statistics(server.metrics_url)
    mixing.seconds = time.monotonic() - began_s
    return mixing


async def _speak(
    service: LipSyncService, session: str, face: str, pcm: bytes, frames: int, mixing: Mixing
) -> None:
    config = VideoGenerationConfig(target_fps=FPS, resolution=Resolution(SIZE, SIZE))
    step, said, drawn = CHUNK_SAMPLES * 2, 0, 0
    while drawn < frames:
        start = said * step % (len(pcm) - step)
        chunk = AudioChunk(pcm[start : start + step], 0.0, said, 16_000, 1, AudioFormat.PCM)
        answer = await service.process_lip_sync(
            LipSyncRequest(session, DEMO_USER, chunk, face, config)
        )
        got = answer.frames
        said += 1
        if said % CHUNKS_PER_TURN == 0:
            got = got + (await service.end_utterance(session)).frames
        drawn += len(got)
        mixing.frames += len(got)
        mixing.by_triton += sum(frame.lip_sync_model is LipSyncModel.TPSM for frame in got)
        mixing.mixed += sum(not shows(frame.image, face) for frame in got)


def shows(image: RgbImage, face: str) -> bool:
    """Whether the whole picture and its mouth have the face's tint."""
    rows, columns = (slice(round(part.start * SIZE), round(part.stop * SIZE)) for part in MOUTH)
    sign = 1.0 if face == "red" else -1.0
    return all(
        sign * (part[..., 0].mean() - part[..., 2].mean()) > 0.0
        for part in (image, image[rows, columns])
    )


async def _statistics(metrics_url: str) -> tuple[int, int]:
    async with aiohttp.ClientSession() as http, http.get(metrics_url) as answer:
        lines = (await answer.text()).splitlines()
    counted = [
        sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith(f"{name}{{") and 'model="tpsm"' in line
        )
        for name in ("nv_inference_request_success", "nv_inference_exec_count")
    ]
    return int(counted[0]), int(counted[1])


def _enrol(storage: Path, face: str, tint: tuple[float, float, float]) -> None:
    shipped, folder = (
        SHIPPED_FACES / face_prefix(DEMO_USER, DEMO_FACE),
        storage / face_prefix(DEMO_USER, face),
    )
    folder.mkdir(parents=True)
    for file in shipped.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    picture = np.asarray(cv2.imread(str(shipped / "neutral_pose.jpg")))[..., ::-1]
    tinted = np.clip(picture * np.array(tint), 0, 255).astype(np.uint8)
    (folder / "neutral_pose.jpg").write_bytes(
        simplejpeg.encode_jpeg(np.ascontiguousarray(tinted), 95, "RGB")
    )
    metadata = json.loads((folder / "metadata.json").read_text()) | {"id": face}
    (folder / "metadata.json").write_text(json.dumps(metadata))


if __name__ == "__main__":
    raise SystemExit(main())
