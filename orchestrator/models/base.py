"""Interface of a model: its needs of audio and face, and the way from windows to frames."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import FaceModel, FeatureSpec, LipSyncModel
from orchestrator.inference import Tensors

Infer: TypeAlias = Callable[[str, Tensors], Awaitable[dict[str, NDArray[Any]]]]
"""One inference with a bound deadline: Triton model name and batched inputs to outputs."""

Frames: TypeAlias = NDArray[np.uint8]
"""Images `[n, height, width, 3]`, RGB."""

ModelState: TypeAlias = Any
"""State that a model carries from chunk to chunk of a turn, None at first.

It is returned, never hidden, so that a failed call leaves nothing half-changed. Frames of another
model, or silent ones, may lie between two calls: `slot` shows that.
"""


@dataclass(frozen=True, slots=True)
class AudioWindow:
    """Feature rows that one video frame needs around its centre."""

    frames: int
    """Rows per window."""
    ahead_frames: int
    """Look-ahead: rows of the window after the row at the video frame's centre."""


@dataclass(frozen=True, slots=True)
class Licences:
    """Terms under which a model may be used."""

    code: str
    weights: str
    commercial: bool
    """True if code and weights may be used commercially; False where either states no terms."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model's declared needs and cost, the only input of model selection."""

    model: LipSyncModel
    triton_models: tuple[str, ...]
    """Models that must be READY; empty where no Triton is needed."""
    features: FeatureSpec
    window: AudioWindow
    quality: float
    """Expected image quality, 0..1, for ranking."""
    min_size: int
    """Smallest usable side of a face photo in pixels."""
    licences: Licences
    gpu_memory_mb: int = 0
    """GPU memory; above 0 the model is meant for a GPU.

    On a CPU it generates only when it was requested or measured to keep up.
    """
    ensembles: tuple[str, ...] = ()
    """Triton ensembles of them that save requests; optional, used where a server has them."""
    stateless: bool = False
    """True if a frame depends on its window, idle time and face alone, and may be cached."""
    min_bandwidth_kbps: float = 0.0
    """Bandwidth that its images need; moving heads need more than lips."""

    @property
    def look_ahead_ms(self) -> float:
        """Audio needed past a video frame's centre, including the reach of the last row itself."""
        return (
            self.window.ahead_frames * self.features.hop_length + self.features.reach_samples
        ) / 16.0


@dataclass(frozen=True, slots=True, eq=False)
class FeatureWindows:
    """Audio of one request: a window per video frame."""

    rows: NDArray[np.float32]
    """`[n, window.frames, n_mels]` (a waveform: `hop_length` columns), oldest row first.

    Silence outside of the turn.
    """
    slot: NDArray[np.int64]
    """`[n]`: the row of the turn at or before each video frame's centre.

    It is row `-1 - ahead_frames` of the window.
    """
    phase: NDArray[np.float32]
    """`[n]`, 0..1: distance of the video frame's centre past that row, in hops."""
    idle_s: NDArray[np.float64]
    """`[n]` media time since the session began, in seconds: drives blinks and sway across turns."""
    silent: NDArray[np.bool_]
    """`[n]`: True for a window without sound, so the mouth rests and no audio network runs."""

    def __len__(self) -> int:
        return len(self.rows)


class FaceInputs(Protocol):
    """A face prepared for one model at one size."""

    @property
    def nbytes(self) -> int:
        """Bytes held in memory, for the cache's budget."""
        ...


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """One array of a face's encodings, as a network returns it, without the batch axis.

    -1 is any length.
    """

    dtype: str
    """Name of the numpy type: `float32`."""
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FaceEncoding:
    """Form of the result of `encode`, by which stored results of another form are rejected."""

    arrays: Mapping[str, ArraySpec]
    """Arrays by name."""
    version: int = 1
    """Number to increase when `prepare` or `encode` give other numbers for the same photo."""
    by_size: bool = False
    """True if they depend on the size given to `prepare`; else all sizes share one encoding."""


@runtime_checkable
class EncodesFace(Protocol):
    """An adapter some of whose networks depend on the face alone.

    They run once per face, and the result (the *face encoding*) is cached. Encodings depend on the
    photo, its landmarks and the networks only. Until they exist a session uses another model.
    """

    face_models: tuple[str, ...]
    """The Triton models that `encode` uses."""
    encoding: FaceEncoding

    async def encode(self, infer: Infer, face: Any) -> dict[str, NDArray[Any]]:
        """Encodings by name from the result of `prepare`.

        They are stored beside the face and reused as long as face and networks are the same.
        `infer` has a deadline of a minute: this is not a live request. The result is stored as it
        is, so return no view of a larger array.
        """
        ...

    def with_encodings(self, face: Any, encodings: Mapping[str, NDArray[Any]]) -> FaceInputs:
        """The prepared face for `generate`; the arrays are read-only.

        Its `nbytes` excludes them: the cache counts them.
        """
        ...


def encodes_face(adapter: object) -> TypeGuard[EncodesFace]:
    """As `isinstance(adapter, EncodesFace)`, evaluated once for each adapter class.

    `isinstance` takes 10 microseconds, and every batch needs the answer.
    """
    kind = type(adapter)
    if kind not in _ENCODES_FACE:
        _ENCODES_FACE[kind] = isinstance(adapter, EncodesFace)
    return _ENCODES_FACE[kind]


_ENCODES_FACE: dict[type, bool] = {}


@dataclass(frozen=True, slots=True)
class FaceSolution:
    """Kind of a face's solution, by which one stored by other code is recognised and not used."""

    name: str
    """First part of its files' names.

    Adapters with the same name and version share one solution.
    """
    version: str
    """Version of the code that solves."""
    check: Callable[[bytes, int], None]
    """Raises ValueError unless the bytes are a solution for this size in pixels."""
    max_bytes: int
    """Upper bound of one solution."""


@runtime_checkable
class SolvesFace(Protocol):
    """An adapter whose `prepare` first solves the face on the CPU.

    The solution is stored beside the face and read back.
    """

    solution: FaceSolution

    def solve(self, face: FaceModel, size: int) -> bytes:
        """Solution for frames of `size` pixels, from the photo and its landmarks alone.

        Raises the exceptions of `prepare`.
        """
        ...

    def prepare_solved(self, face: FaceModel, solution: bytes) -> FaceInputs:
        """Same result as `prepare`, from a solution that passed the check."""
        ...


@runtime_checkable
class IntroducesFace(Protocol):
    """An adapter whose servers keep data of a face, sent ahead of the first frame."""

    def introduction(self, face: Any) -> dict[str, Tensors]:
        """Requests by Triton model that each server gets once; their results are not used.

        `face` is from `prepare`.
        """
        ...


class ModelAdapter(Protocol):
    """One model: pure preparation of a face, and frames from windows."""

    spec: ModelSpec

    def prepare(self, face: FaceModel, size: int) -> FaceInputs:
        """Derive the model's data of a face at `size` x `size` pixels.

        CPU heavy and pure; runs in a worker thread.
        """
        ...

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: Any, state: ModelState
    ) -> tuple[Frames, ModelState]:
        """Generate frames `[n, size, size, 3]` for `n` windows, and the state for the next call."""
        ...

    def probe_inputs(self) -> dict[str, Tensors]:
        """A smallest valid request for each Triton model, to probe a failed model."""
        ...
