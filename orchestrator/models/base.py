"""What a model is: what it needs of the audio and the face, and how windows become frames."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from orchestrator.inference import Tensors
from orchestrator.types import FaceModel, LipSyncModel, MelSpec

Infer: TypeAlias = Callable[[str, Tensors], Awaitable[dict[str, NDArray[Any]]]]
"""One inference with its deadline already bound: Triton model name and batched inputs to outputs."""

Frames: TypeAlias = NDArray[np.uint8]
"""Pictures `[n, height, width, 3]`, RGB."""

ModelState: TypeAlias = Any
"""What a model carries from chunk to chunk; returned, never hidden, so that a failed call leaves nothing half-changed."""


@dataclass(frozen=True, slots=True)
class AudioWindow:
    """The mel frames one video frame needs, around the video frame's centre."""

    frames: int
    """Mel frames per window."""
    ahead_frames: int
    """How many mel frames the window reaches past the mel frame at the video frame's centre: the look-ahead."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model's declared needs and cost; selection reads nothing else."""

    model: LipSyncModel
    triton_models: tuple[str, ...]
    """Models that must be READY; empty where no Triton is needed."""
    features: MelSpec
    window: AudioWindow
    quality: float
    """Expected quality of the picture, 0..1, for ranking."""
    min_size: int
    """Smallest side in pixels of a face photo it can use."""
    gpu_memory_mb: int = 0

    @property
    def look_ahead_ms(self) -> float:
        """Audio needed past a video frame's centre, counting half a mel window and the centre's rounding."""
        hop_ms, half_window_ms = self.features.hop_length / 16.0, self.features.win_length / 32.0
        return self.window.ahead_frames * hop_ms + half_window_ms


@dataclass(frozen=True, slots=True, eq=False)
class FeatureWindows:
    """The audio side of one request: a window per video frame."""

    mel: NDArray[np.float32]
    """`[n, window.frames, n_mels]`, oldest mel frame first."""
    slot: NDArray[np.int64]
    """`[n]`: the mel frame of the turn at or before each video frame's centre."""
    phase: NDArray[np.float32]
    """`[n]`, 0..1: how far the video frame's centre lies past the mel frame it was rounded down to, in hops."""
    idle_s: NDArray[np.float64]
    """`[n]` media time since the session began, in seconds: drives blinks and sway across turns."""
    silent: NDArray[np.bool_]
    """`[n]`: the window holds no sound, so the mouth rests and the audio network need not run."""

    def __len__(self) -> int:
        return len(self.mel)


class FaceInputs(Protocol):
    """A face prepared for one model at one size."""

    @property
    def nbytes(self) -> int:
        """Bytes held in memory, for the cache's budget."""
        ...


class ModelAdapter(Protocol):
    """One model: pure preparation of a face, and frames from windows."""

    spec: ModelSpec

    def prepare(self, face: FaceModel, size: int) -> FaceInputs:
        """Derive what the model needs of a face at `size` x `size` pixels; CPU heavy, pure, runs in a worker thread."""
        ...

    async def generate(self, infer: Infer, windows: FeatureWindows, face: Any, state: ModelState) -> tuple[Frames, ModelState]:
        """Frames `[n, size, size, 3]` for `n` windows, and the state for the next call."""
        ...

    def canary(self) -> dict[str, Tensors]:
        """A smallest valid request for each Triton model, to ask a failed model whether it is back."""
        ...
