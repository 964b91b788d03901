"""Pictures for lip reading: the product's path from sound to decoded H.264, and a reference path.

The reference path gives the renderer the true mouth instead of the network's.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.true_mouth import Curve, TrueMouth
from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.core.config import ServiceConfig
from orchestrator.core.metrics import Metrics
from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.core.types import (
    AudioChunk,
    AudioFormat,
    FaceModel,
    LipSyncModel,
    Resolution,
    RgbImage,
    Samples,
    VideoGenerationConfig,
)
from orchestrator.faces.enrolment.enrol import enrol_photo
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.face_format import parse_face_model
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, ROOT
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.inference import Tensors
from orchestrator.inference.local.inference import LocalInference
from orchestrator.inference.model_contract import Repository, read_repository
from orchestrator.models.base import FeatureWindows, Frames, Infer, ModelState
from orchestrator.models.tpsm.adapter import Tpsm, TpsmFace
from orchestrator.pipeline.frame_pipeline import FramePipeline
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.turn import Turn
from orchestrator.rendering.face_renderer import FaceRenderer
from orchestrator.rendering.idle import idle_motion
from orchestrator.rendering.motion import CLOSED, JAW, MOTION_PARAMETERS, OPEN, aperture
from orchestrator.video.encoder import H264Encoder
from orchestrator.video.generator import VideoGeneratorService
from orchestrator.video.streamer import VideoStreamingService

_CHUNK: Final = SAMPLE_RATE_HZ // 10
_MOST_FRAMES: Final = 8
_QUALITY: Final = 80
_DEADLINE_MS: Final = 30_000
_JAW_OF_OPENING: Final = 0.9
_KEEPS_CLOSURES_S: Final = (-0.01, 0.0, 0.01)
"""Offsets at which a closure still counts for a frame; at 20 fps it could fall between two frames.

Measured: a reach of 10 ms finds every closure and leaves 0.976 of the correlation in speech, 20 ms
leaves 0.929, and none at all loses one closure in 20.
"""


def drawn_portrait() -> FaceModel:
    """The portrait that ships with the service; FileNotFoundError when it is missing."""
    folder = SHIPPED_FACES / ROOT / DEMO_USER / DEMO_FACE
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return parse_face_model(DEMO_USER, DEMO_FACE, files, "shipped")


def photo() -> FaceModel:
    """scikit-image's astronaut, a public-domain portrait with a toothy smile, enrolled."""
    with tempfile.TemporaryDirectory() as folder:
        store = LocalFaceStore(Path(folder))
        return asyncio.run(
            enrol_photo(
                photo_file(), user_id="check", face_id="astronaut", store=store, consent=True
            )
        )


def photo_file() -> bytes:
    """The astronaut as a PNG."""
    from skimage import data

    image = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)  # type: ignore[no-untyped-call]
    return cv2.imencode(".png", image)[1].tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """Result of one turn: its pictures, and the mouth that the network requested."""

    frames: list[RgbImage]
    aperture: Curve
    """Lip gap per frame after network, smoothing and silence gate, before the renderer."""


def heard(samples: Samples, face: TpsmFace, fps: float, size: int, repository: Path) -> Heard:
    """Run one turn as in a live session: 100 ms chunks, windows, network, smoothing, renderer."""
    return asyncio.run(_heard(samples, face, fps, size, repository))


async def _heard(
    samples: Samples, face: TpsmFace, fps: float, size: int, repository: Path
) -> Heard:
    video = VideoGenerationConfig(target_fps=fps, resolution=Resolution(size, size))
    turn, frames = Turn("turn", 0, video, 0.0, 0.0, 0.0), list[RgbImage]()
    session = Session("turn", DEMO_USER, inbox_ms=1.0, outbox_frames=1)
    session.face.current = drawn_portrait()  # the adapter has its face already
    inference = _TappedInference(read_repository(repository))
    async with inference:
        pipeline = _pipeline(inference, face)

        async def draw_ready() -> None:
            while batch := await pipeline.next_batch(
                session, turn, limit=_MOST_FRAMES, models=[LipSyncModel.TPSM]
            ):
                frames.extend(frame.image for frame in batch.frames)

        for start in range(0, len(samples), _CHUNK):
            turn.push(_chunk(samples[start : start + _CHUNK]), 0.0)
            await draw_ready()
        turn.finish(0.0)
        await draw_ready()
    return Heard(frames, np.concatenate(inference.apertures).astype(np.float64))


class _TappedInference(LocalInference):
    """Inference that records the mouth opening of every picture requested from the renderer."""

    def __init__(self, repository: Repository) -> None:
        super().__init__(repository)
        self.apertures: list[NDArray[Any]] = []

    async def infer(
        self, model: str, inputs: Tensors, *, deadline: float
    ) -> dict[str, NDArray[Any]]:
        outputs = await super().infer(model, inputs, deadline=deadline)
        if model == "tpsm":
            self.apertures.append(aperture(inputs["motion"]))
        return outputs


class _PreparedTpsm:
    """Tpsm over one prepared face, which all clips share."""

    spec = Tpsm.spec

    def __init__(self, face: TpsmFace) -> None:
        self._face, self._tpsm = face, Tpsm()

    def prepare(self, face: FaceModel, size: int) -> TpsmFace:
        """The given face, whatever `face` is."""
        return self._face

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: TpsmFace, state: ModelState
    ) -> tuple[Frames, ModelState]:
        """See `Tpsm.generate`."""
        return await self._tpsm.generate(infer, windows, face, state)

    def probe_inputs(self) -> dict[str, Tensors]:
        """See `Tpsm.probe_inputs`."""
        return self._tpsm.probe_inputs()


def _pipeline(inference: LocalInference, face: TpsmFace) -> FramePipeline:
    """The frame loop of the service over one model, without its frame cache."""
    return FramePipeline(
        ServiceConfig(chunk_deadline_ms=_DEADLINE_MS, frame_cache_ttl=0.0),
        {LipSyncModel.TPSM: _PreparedTpsm(face)},
        FaceModelCacheService(LocalFaceStore(SHIPPED_FACES)),
        VideoGeneratorService(inference),
        VideoStreamingService(),
        Metrics(),
    )


def _chunk(samples: Samples) -> AudioChunk:
    data = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()
    return AudioChunk(data, 0.0, 0, SAMPLE_RATE_HZ, 1, AudioFormat.PCM)


def told_frames(mouth: TrueMouth, duration_s: float, face: TpsmFace, fps: float) -> list[RgbImage]:
    """Render the true mouth; its scores are an upper bound for any network."""
    times_s = (np.arange(int(np.ceil(duration_s * fps - 1e-3)), dtype=np.float64) + 0.5) / fps
    motion = np.zeros((len(times_s), len(MOTION_PARAMETERS)), np.float32)
    motion[:, OPEN] = mouth.at(times_s, mouth.opening)
    motion[:, JAW] = _JAW_OF_OPENING * motion[:, OPEN]
    motion[:, CLOSED] = np.max(
        [mouth.at(times_s + shift_s, mouth.shut) for shift_s in _KEEPS_CLOSURES_S], axis=0
    )
    motion[:, -4:] = idle_motion(times_s, face.seed)
    renderer = FaceRenderer(face.maps)
    return [renderer.draw(row) for row in motion]


def through_h264(frames: list[RgbImage], fps: float) -> list[RgbImage]:
    """Encode the frames as H.264 and decode them, as for a viewer."""
    encoder = H264Encoder(frames[0].shape[0], fps, _QUALITY)
    decoder = av.CodecContext.create("h264", "r")
    decoded = []
    for index, frame in enumerate(frames):
        coded = encoder.encode(frame, force_keyframe=index == 0)
        decoded += decoder.decode(av.Packet(coded.data))
    decoded += decoder.decode(None)
    return [np.ascontiguousarray(frame.to_ndarray(format="rgb24")) for frame in decoded]
