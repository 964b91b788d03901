"""Types of the service: frozen records that pass between the stages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]
"""Mono audio at 16 kHz, full scale 1.0, shape `[n]`."""

RgbImage: TypeAlias = NDArray[np.uint8]
"""`[height, width, 3]`, RGB order."""


class LipSyncModel(str):
    """Name of a model, as on the wire; one object per name, so that `is` compares models.

    The six names below are shipped. An adapter of your own adds its name by `own`.
    """

    __slots__ = ()

    TPSM: ClassVar[LipSyncModel]
    WAV2LIP: ClassVar[LipSyncModel]
    SADTALKER: ClassVar[LipSyncModel]
    AUDIO2HEAD: ClassVar[LipSyncModel]
    TPSM_NEURAL: ClassVar[LipSyncModel]
    STATIC: ClassVar[LipSyncModel]

    def __new__(cls, name: object) -> LipSyncModel:
        """Return the known model of that name; raise ValueError for any other value."""
        model = _KNOWN_MODELS.get(name) if isinstance(name, str) else None
        if model is None:
            raise ValueError(f"{name!r} is not a known model")
        return model

    @classmethod
    def own(cls, name: str) -> LipSyncModel:
        """Add a name to the known models, and return its model. Raises ValueError for bad syntax.

        Adapters call it in their `ModelSpec`, so that a new model needs no line here.
        """
        if not _MODEL_NAME.fullmatch(name):
            raise ValueError(
                f"{name!r}: a model's name is 1 to 32 small letters, digits and hyphens, a letter "
                "first"
            )
        return _KNOWN_MODELS.setdefault(name, str.__new__(cls, name))

    @classmethod
    def known(cls) -> tuple[LipSyncModel, ...]:
        """Return the shipped models, and those that `own` has added so far."""
        return tuple(_KNOWN_MODELS.values())

    @property
    def value(self) -> str:
        """The name as plain text."""
        return str(self)


_KNOWN_MODELS: Final[dict[str, LipSyncModel]] = {}
_MODEL_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")

LipSyncModel.TPSM = LipSyncModel.own("tpsm")
LipSyncModel.WAV2LIP = LipSyncModel.own("wav2lip")
LipSyncModel.SADTALKER = LipSyncModel.own("sadtalker")
LipSyncModel.AUDIO2HEAD = LipSyncModel.own("audio2head")
LipSyncModel.TPSM_NEURAL = LipSyncModel.own("tpsm-neural")
LipSyncModel.STATIC = LipSyncModel.own("static")

SHIPPED_MODELS: Final = LipSyncModel.known()


class AudioFormat(StrEnum):
    """Encoding of `AudioChunk.data`."""

    PCM = "pcm"
    WAV = "wav"
    OPUS = "opus"


class VideoFormat(StrEnum):
    """Encoding of frames on the wire."""

    JPEG = "jpeg"
    H264 = "h264"


class MelScale(StrEnum):
    """Scale of the energy of a mel band."""

    NATURAL_LOG = "natural_log"
    """Natural logarithm of power."""
    DECIBEL = "decibel"
    """Pre-emphasised magnitudes in decibels, -4..4; see `orchestrator.audio.features.decibel_mel`. 
    """


@dataclass(frozen=True, slots=True)
class MelSpec:
    """Parameters of a log-mel spectrogram.

    The defaults are the specification's: 25 ms Hann window, 10 ms hop, 80 Slaney bands.
    """

    n_mels: int = 80
    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 160
    fmin_hz: float = 80.0
    fmax_hz: float = 7600.0
    log_floor: float = 1e-8
    """Power below which the natural logarithm is clipped."""
    scale: MelScale = MelScale.NATURAL_LOG

    @property
    def reach_samples(self) -> int:
        """Samples of row i on each side of its centre, sample `i * hop_length`."""
        return self.win_length // 2


@dataclass(frozen=True, slots=True)
class WaveformSpec:
    """Raw 16 kHz samples in rows of `hop_length`, for models that compute their own features."""

    hop_length: int = 640

    @property
    def reach_samples(self) -> int:
        """Samples of row i, from sample `i * hop_length` on."""
        return self.hop_length


FeatureSpec: TypeAlias = MelSpec | WaveformSpec
"""Audio features of a model: feature frames, `hop_length` samples apart."""


@dataclass(frozen=True, slots=True)
class AudioChunk:
    """One chunk of a turn's audio, as the client sent it."""

    data: bytes
    timestamp_ms: float
    """The client's clock at the chunk's first sample."""
    sequence_number: int
    sample_rate_hz: int
    channels: int
    format: AudioFormat


@dataclass(frozen=True, slots=True)
class Resolution:
    """Picture size in pixels."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Keypoint:
    """One landmark, in pixels of the face model's neutral pose."""

    x: float
    y: float
    confidence: float = 1.0
    landmark: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class FaceModel:
    """An enrolled face: the photo and its landmarks."""

    id: str
    user_id: str
    resolution: Resolution
    keypoints: tuple[Keypoint, ...]
    """468 or 478 MediaPipe face-mesh points in index order."""
    neutral_pose: RgbImage
    quality_score: float
    created_at: str
    version: str = ""
    """Changes with the stored bytes; part of every cache key."""
    embeddings: tuple[tuple[float, ...], ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def model_path(self) -> str:
        """Folder of its files in the face store."""
        return f"face-models/{self.user_id}/{self.id}"

    @property
    def expression_templates(self) -> list[Any]:
        """Stored names with key points or blend shapes; empty where none were enrolled."""
        return list(self.metadata.get("expressionTemplates", ()))

    def landmarks(self) -> NDArray[np.float32]:
        """Return the key points as `[n, 2]` pixels, x first; infinite beyond float32."""
        points = np.array([(point.x, point.y) for point in self.keypoints], dtype=np.float64)
        with np.errstate(over="ignore"):  # callers check for infinity
            return points.astype(np.float32)


@dataclass(frozen=True, slots=True)
class VideoGenerationConfig:
    """Settings of a turn's video."""

    target_fps: float = 20.0
    resolution: Resolution = Resolution(256, 256)
    format: VideoFormat = VideoFormat.JPEG
    quality: int = 80
    """0..100."""
    enable_interpolation: bool = False
    """While a model is slower than real time, it generates every second frame. The others are
    interpolated along the motion.
    """


@dataclass(frozen=True, slots=True, eq=False)
class GeneratedFrame:
    """One generated picture and the time of the audio it shows."""

    image: RgbImage
    sequence_number: int
    audio_timestamp_ms: float
    """The client's clock at the start of the frame's slot."""
    lip_sync_model: LipSyncModel
    generation_time_ms: float
    is_interpolated: bool = False


@dataclass(frozen=True, slots=True)
class StreamingFrame:
    """One encoded picture, ready for the wire."""

    data: bytes
    sequence_number: int
    timestamp_ms: float
    """Presentation timestamp, in the client's clock."""
    audio_timestamp_ms: float
    format: VideoFormat
    is_keyframe: bool
    resolution: Resolution
    lip_sync_model: LipSyncModel
    is_interpolated: bool
