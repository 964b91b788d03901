"""Run the exported ONNX on windows as in the service, turn edges included."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from orchestrator.audio.features.log_mel import MelSpec, log_mel
from orchestrator.core.types import Samples
from orchestrator.rendering.motion import MOUTH_PARAMETERS

MODEL: Final = Path("model_repository/audio2motion/1/model.onnx")
_WINDOW, _STEPS = 88, 16
LOOK_AHEAD_FRAMES: Final = 6
"""Mel frames between the last output step and the window's end."""
_BATCH: Final = 16


def open_model(path: Path = MODEL) -> onnxruntime.InferenceSession:
    """The ONNX on one CPU thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def windows_of(
    mel: NDArray[np.float32], ahead_frames: int = LOOK_AHEAD_FRAMES
) -> NDArray[np.float32]:
    """Windows `[n, 88, 80]` whose 16 steps each are consecutive and cover `mel [frames, 80]`.

    Silence lies beyond its ends.
    """
    count = -(-len(mel) // _STEPS)
    behind = _WINDOW - ahead_frames - _STEPS
    after = count * _STEPS - len(mel) + ahead_frames
    padded = np.pad(
        mel, ((behind, after), (0, 0)), constant_values=float(np.log(MelSpec().log_floor))
    )
    return np.stack([padded[i * _STEPS : i * _STEPS + _WINDOW] for i in range(count)]).astype(
        np.float32
    )


def mouth_of(
    session: onnxruntime.InferenceSession, samples: Samples, ahead_frames: int = LOOK_AHEAD_FRAMES
) -> NDArray[np.float32]:
    """Mouth parameters `[frames, 7]` at 100 Hz of a whole turn at 16 kHz."""
    mel = log_mel(samples, MelSpec())
    windows = windows_of(mel, ahead_frames)
    parts = [
        session.run(["motion"], {"mel": windows[i : i + _BATCH]})[0]
        for i in range(0, len(windows), _BATCH)
    ]
    return np.concatenate(parts).reshape(-1, len(MOUTH_PARAMETERS))[: len(mel)].astype(np.float32)
