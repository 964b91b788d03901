"""What a model is: what it needs of the audio and the face, and how windows become frames."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import FaceModel, FeatureSpec, LipSyncModel
from orchestrator.inference import Tensors

Infer: TypeAlias = Callable[[str, Tensors], Awaitable[dict[str, NDArray[Any]]]]
"""One inference with its deadline already bound: Triton model name and batched inputs to outputs. 
"""

Frames: TypeAlias = NDArray[np.uint8]
"""Pictures `[n, height, width, 3]`, RGB."""

ModelState: TypeAlias = Any
"""What a model carries from chunk to chunk of a turn, at first None; returned, never hidden, so
that a failed call leaves nothing half-changed. Frames that another model drew, or that were silent,
may lie between two calls: `slot` tells.
"""


@dataclass(frozen=True, slots=True)
class AudioWindow:
    """The feature rows one video frame needs, around the video frame's centre."""

    frames: int
    """Rows per window."""
    ahead_frames: int
    """How many rows the window reaches past the row at the video frame's centre: the look-ahead."""


@dataclass(frozen=True, slots=True)
class Licences:
    """Under which terms a model may be used."""

    code: str
    weights: str
    commercial: bool
    """Whether code and weights may be used commercially; not where one of them states nothing."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model's declared needs and cost; selection reads nothing else."""

    model: LipSyncModel
    triton_models: tuple[str, ...]
    """Models that must be READY; empty where no Triton is needed."""
    features: FeatureSpec
    window: AudioWindow
    quality: float
    """Expected quality of the picture, 0..1, for ranking."""
    min_size: int
    """Smallest side in pixels of a face photo it can use."""
    licences: Licences
    gpu_memory_mb: int = 0
    """More than 0: a model for a GPU, which on a CPU draws only when it was asked for or measured
    to keep up.
    """
    ensembles: tuple[str, ...] = ()
    """Triton ensembles of them that save requests: asked where a server has them, and not missed
    where none does.
    """
    stateless: bool = False
    """Whether a frame follows from its window, its idle time and the face alone: then it may be
    remembered.
    """
    min_bandwidth_kbps: float = 0.0
    """What its pictures need of the client's network; heads that move need more than lips."""

    @property
    def look_ahead_ms(self) -> float:
        """Audio needed past a video frame's centre, counting what the last row itself reaches past
        its own.
        """
        return (
            self.window.ahead_frames * self.features.hop_length + self.features.reach_samples
        ) / 16.0


@dataclass(frozen=True, slots=True, eq=False)
class FeatureWindows:
    """The audio side of one request: a window per video frame."""

    rows: NDArray[np.float32]
    """`[n, window.frames, n_mels]` (a waveform: `hop_length` columns), oldest row first; silence
    outside of the turn.
    """
    slot: NDArray[np.int64]
    """`[n]`: the row of the turn at or before each video frame's centre; it is row `-1 -
    ahead_frames` of the window.
    """
    phase: NDArray[np.float32]
    """`[n]`, 0..1: how far the video frame's centre lies past the row it was rounded down to, in
    hops.
    """
    idle_s: NDArray[np.float64]
    """`[n]` media time since the session began, in seconds: drives blinks and sway across turns."""
    silent: NDArray[np.bool_]
    """`[n]`: the window holds no sound, so the mouth rests and the audio network need not run."""

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
    """One array of a face's encodings, as the networks answer it without the batch axis; -1 is any
    length.
    """

    dtype: str
    """Numpy's name: `float32`."""
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FaceEncoding:
    """What `encode` answers, so that stored answers of another time or hand are told from its
    own.
    """

    arrays: Mapping[str, ArraySpec]
    """Each of them, by name."""
    version: int = 1
    """Grows when `prepare` or `encode` changed so that the same photo and networks give other
    numbers.
    """
    by_size: bool = False
    """Whether they depend on the size that `prepare` was given; where not, all sizes share one
    encoding.
    """


@runtime_checkable
class EncodesFace(Protocol):
    """An adapter some of whose networks see nothing but the face: they run once per face, and what
    they say is kept.

    Encodings follow from the photo, its landmarks and the networks alone. Until they are there a
    session speaks with another model.
    """

    face_models: tuple[str, ...]
    """The Triton models that `encode` asks."""
    encoding: FaceEncoding

    async def encode(self, infer: Infer, face: Any) -> dict[str, NDArray[Any]]:
        """Encodings by name, from what `prepare` made; stored beside the face and given back as
        long as face and networks are the same.

        `infer` has a deadline of a minute: this is no live request. What it answers is held as it
        is, so no view of something larger.
        """
        ...

    def with_encodings(self, face: Any, encodings: Mapping[str, NDArray[Any]]) -> FaceInputs:
        """The prepared face that `generate` is given; the arrays are read-only. Its `nbytes` leaves
        them out: the cache counts them.
        """
        ...


def encodes_face(adapter: object) -> TypeGuard[EncodesFace]:
    """`isinstance(adapter, EncodesFace)`, which takes 10 microseconds, once for each kind of
    adapter: every batch asks.
    """
    kind = type(adapter)
    if kind not in _ENCODES_FACE:
        _ENCODES_FACE[kind] = isinstance(adapter, EncodesFace)
    return _ENCODES_FACE[kind]


_ENCODES_FACE: dict[type, bool] = {}


@dataclass(frozen=True, slots=True)
class FaceSolution:
    """Kind of a face's solution, so that a stored one of other code is recognised and not used."""

    name: str
    """First part of its files' names; adapters with the same name and version share one solution. 
    """
    version: str
    """Changes with the code that solves."""
    check: Callable[[bytes, int], None]
    """Raises ValueError unless the bytes are a solution for this size in pixels."""
    max_bytes: int
    """Of one solution."""


@runtime_checkable
class SolvesFace(Protocol):
    """An adapter whose `prepare` solves the face first, with CPU alone: the solution is stored
    beside the face and read back.
    """

    solution: FaceSolution

    def solve(self, face: FaceModel, size: int) -> bytes:
        """Solution for frames of `size` pixels, from the photo and its landmarks alone. Raises what
        `prepare` raises.
        """
        ...

    def prepare_solved(self, face: FaceModel, solution: bytes) -> FaceInputs:
        """Same result as `prepare`, from a solution that passed the check."""
        ...


@runtime_checkable
class IntroducesFace(Protocol):
    """An adapter whose servers keep what was sent of a face: sent ahead of the first frame, it is
    there when that is drawn.
    """

    def introduction(self, face: Any) -> dict[str, Tensors]:
        """Requests by Triton model, of which each server gets one; their answers are not used.
        `face` is from `prepare`.
        """
        ...


class ModelAdapter(Protocol):
    """One model: pure preparation of a face, and frames from windows."""

    spec: ModelSpec

    def prepare(self, face: FaceModel, size: int) -> FaceInputs:
        """Derive what the model needs of a face at `size` x `size` pixels; CPU heavy, pure, runs in
        a worker thread.
        """
        ...

    async def generate(
        self, infer: Infer, windows: FeatureWindows, face: Any, state: ModelState
    ) -> tuple[Frames, ModelState]:
        """Frames `[n, size, size, 3]` for `n` windows, and the state for the next call."""
        ...

    def probe_inputs(self) -> dict[str, Tensors]:
        """A smallest valid request for each Triton model, to ask a failed model whether it is
        back.
        """
        ...
