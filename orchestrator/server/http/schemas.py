"""Records of the JSON bodies: the handlers encode and decode them; OpenAPI is made from them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from orchestrator.protocol import Identifier, WireAudioChunk, WireResolution

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Alive(msgspec.Struct, rename="camel"):
    """The process runs."""

    status: str


class Ready(msgspec.Struct, rename="camel", omit_defaults=True):
    """`ready` while new sessions are accepted; `degraded` names the default model while another one
    replaces it.
    """

    ready: bool
    reason: Literal["STARTING", "DRAINING"] | msgspec.UnsetType = msgspec.UNSET
    degraded: list[str] = []


class Capacity(msgspec.Struct, rename="camel"):
    """Number of faces that may speak at once on this machine, measured at the start."""

    speaking_faces: Annotated[int, msgspec.Meta(ge=1)]
    cpu_ms_per_frame: NotNegative
    cores: NotNegative
    fps: NotNegative


class Generation(msgspec.Struct, rename="camel"):
    """Frame generation of all sessions since the start; means cover the last batches, and are null
    before the first.
    """

    frames_generated: Count
    frames_dropped: Count
    average_generation_time_ms: NotNegative | None
    average_fps: NotNegative
    buffer_underruns: Count
    model_switches: Count


class ModelHealth(msgspec.Struct, rename="camel", omit_defaults=True):
    """One model's availability and latency per chunk; null before the first."""

    available: bool
    average_latency_ms: NotNegative | None
    p95_latency_ms: NotNegative | None
    p99_latency_ms: NotNegative | None
    success_rate: Share | None
    frames_per_second: NotNegative | None
    weights: str | msgspec.UnsetType = msgspec.UNSET
    refused: str | msgspec.UnsetType = msgspec.UNSET


class Health(msgspec.Struct, rename="camel"):
    """The service's state; `degraded` while the default model is not available."""

    status: str
    active_sessions: Count
    speaking_sessions: Count
    max_sessions: Annotated[int, msgspec.Meta(ge=1)]
    gpu_available: bool
    capacity: Capacity | None
    generation: Generation
    models: dict[str, ModelHealth]


class Licence(msgspec.Struct, rename="camel"):
    """Licences of a model's code and weights."""

    code: str
    weights: str
    commercial_use: bool


class Network(msgspec.Struct, rename="camel"):
    """Provenance of the weights of one of a model's networks; null where its file is silent."""

    name: str
    weights: str | None
    origin: str | None
    licence: str | None
    sha256: list[str]


class Model(msgspec.Struct, rename="camel", omit_defaults=True):
    """Requirements of a model, and its availability now."""

    name: str
    available: bool
    is_default: bool
    look_ahead_ms: NotNegative
    min_resolution: Count
    triton_models: list[str]
    licence: Licence
    permitted: bool
    networks: list[Network]
    weights: str | msgspec.UnsetType = msgspec.UNSET
    refused: str | msgspec.UnsetType = msgspec.UNSET


class Models(msgspec.Struct, rename="camel"):
    """All models of this service."""

    models: list[Model]


class ModelPerformance(msgspec.Struct, rename="camel"):
    """Performance of a model over its recent batches; null where a value is unknown."""

    model: str
    average_latency_ms: NotNegative | None
    p95_latency_ms: NotNegative | None
    p99_latency_ms: NotNegative | None
    success_rate: Share | None
    quality_score: Share
    gpu_utilization: Share | None
    memory_usage_mb: NotNegative | None
    frames_per_second: NotNegative | None
    last_updated: str | None


class BenchmarkRequest(msgspec.Struct, rename="camel"):
    """A face and a chunk of speech. `userId` defaults to the caller, or to the demo user;
    `faceModelId` to the active face.
    """

    audio_chunk: WireAudioChunk
    user_id: Identifier | None = None
    face_model_id: Identifier | None = None


class BenchmarkResult(msgspec.Struct, rename="camel"):
    """Result of one model; latencies are those of chunks of two frames."""

    model: str
    test_duration_ms: NotNegative
    frames_generated: Count
    average_latency_ms: NotNegative
    max_latency_ms: NotNegative
    min_latency_ms: NotNegative
    quality_score: Share
    gpu_memory_peak_mb: NotNegative | None
    is_recommended: bool


class Benchmark(msgspec.Struct, rename="camel"):
    """Results of every model that supports the face and is ready; one of them is recommended."""

    results: list[BenchmarkResult]


class FaceModels(msgspec.Struct, rename="camel"):
    """Ids of a user's face models."""

    face_models: list[str]


class FaceModel(msgspec.Struct, rename="camel"):
    """An enrolled face. `consentAt` is the time at which the consent of the person shown was
    stated; null for faces made by other software.
    """

    id: str
    user_id: str
    quality_score: Annotated[float, msgspec.Meta(ge=0, le=100)]
    resolution: WireResolution
    created_at: str
    consent_at: str | None


class Issue(msgspec.Struct, rename="camel"):
    """A reason against driving a face with a model."""

    code: str
    message: str


class FaceModelDetails(FaceModel, rename="camel"):
    """An enrolled face, with the models that can drive it."""

    compatible_lip_sync_models: list[str]
    recommended_model: str
    issues: list[Issue]
