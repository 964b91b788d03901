"""Audio2Head without its networks: stand-ins whose answers depend on everything they are asked, and
sounds to ask with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.core.types import AudioChunk, AudioFormat, VideoGenerationConfig
from orchestrator.inference import Tensors
from orchestrator.inference.model_contract import ModelContract, read_model
from orchestrator.models.audio2head.adapter import Audio2Head
from orchestrator.models.audio2head.chunks import CHUNK_FRAMES
from orchestrator.models.base import FeatureWindows
from orchestrator.pipeline.turn import Turn

RATE_HZ = 16_000
SPEC = Audio2Head.spec
SOURCE_POINTS = np.random.default_rng(3).uniform(-0.5, 0.5, (10, 2)).astype(np.float32)
UPRIGHT = np.broadcast_to(np.eye(2, dtype=np.float32), (10, 2, 2))
MIX = np.random.default_rng(4).standard_normal((164, 256)).astype(np.float32) * 1e-3


def speech(seconds: float) -> np.ndarray:
    """A voice whose pitch glides, with pauses and a little noise; int16."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(3.0 * time_s)) / RATE_HZ
    voice = sum(np.sin(k * phase) / k for k in range(1, 9)) * np.clip(
        np.sin(9.0 * time_s) + 0.3, 0.0, 1.0
    )
    noise = np.random.default_rng(5).standard_normal(len(time_s))
    return np.asarray(np.rint(6000 * voice + 40 * noise + 11), np.int16)


def hiss(seconds: float) -> np.ndarray:
    """Sound that swells and sinks and has no pitch, which is soon found out; int16."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.asarray(
        np.rint(6000 * np.sin(2 * np.pi * 7000 * time_s) * (1.2 + np.sin(9.0 * time_s))), np.int16
    )


def silence_in(samples: np.ndarray, begin_s: float, end_s: float) -> np.ndarray:
    """The same with digital silence in between."""
    quiet = samples.copy()
    quiet[round(begin_s * RATE_HZ) : round(end_s * RATE_HZ)] = 0
    return quiet


def turn_of(samples: np.ndarray, fps: float = 25.0, *, finished: bool = True) -> Turn:
    """A turn that has heard all of them."""
    turn = Turn("turn", 1, VideoGenerationConfig(target_fps=fps), 0.0, 0.0, 0.0)
    for number in range(-(-len(samples) // RATE_HZ)):
        hear(turn, samples[number * RATE_HZ :][:RATE_HZ], number)
    if finished:
        turn.finish(0.0)
    return turn


def hear(turn: Turn, samples: np.ndarray, number: int) -> None:
    """The turn's next chunk."""
    turn.push(AudioChunk(samples.tobytes(), 0.0, number, RATE_HZ, 1, AudioFormat.PCM), 0.0)


def step(turn: Turn, count: int = 1) -> FeatureWindows:
    """The next windows, as a session asks for them; the turn goes on behind them."""
    windows = turn.windows(SPEC, count)
    turn.advance([np.zeros((1, 1, 3), np.uint8)] * count, SPEC.model, 0.0)
    return windows


def skip(turn: Turn, frames: int) -> Turn:
    """Frames that another model drew."""
    turn.advance([np.zeros((1, 1, 3), np.uint8)] * frames, SPEC.model, 0.0)
    return turn


@lru_cache
def contract(model: str) -> ModelContract:
    """The committed one."""
    return read_model(MODEL_REPOSITORY / model / "config.pbtxt")


@dataclass
class Networks:
    """Holds every request to its contract and keeps it; `repaint` draws the picture of a row."""

    repaint: Callable[[int], np.ndarray] = lambda row: np.zeros((256, 256, 3), np.uint8)
    asked: list[tuple[str, Tensors]] = field(default_factory=list, repr=False)

    async def infer(self, model: str, inputs: Tensors) -> dict[str, Any]:
        contract(model).check(inputs)
        self.asked.append((model, inputs))
        if model == "audio2head_frame":
            return {
                "frame": np.stack([self.repaint(row) for row in range(len(inputs["key_points"]))])
            }
        return ANSWERS[model](**inputs)

    def of(self, model: str) -> list[Tensors]:
        """What a network was asked."""
        return [inputs for name, inputs in self.asked if name == f"audio2head_{model}"]

    def drawn(self) -> np.ndarray:
        """Key points of every frame that was drawn, `[n, 10, 2]`."""
        return np.concatenate([inputs["key_points"] for inputs in self.of("frame")])


def picture(picture: np.ndarray) -> dict[str, Any]:
    """Of the face's networks, always the same."""
    features, small = np.zeros((1, 256, 64, 64), np.float32), np.zeros((1, 3, 64, 64), np.float32)
    points = {"key_points": SOURCE_POINTS[None], "jacobians": UPRIGHT[None]}
    return {
        "features": features,
        "small_picture": small,
        "vector": np.full((1, 256), 0.1, np.float32),
        "pose": np.zeros((1, 6), np.float32),
        **points,
    }


def embedding(audio: np.ndarray) -> dict[str, Any]:
    """Depends on all of a block."""
    return {"embedding": np.tanh(audio.reshape(len(audio), -1) @ MIX)}


def pose(
    embedding: np.ndarray, vector: np.ndarray, hidden: np.ndarray, cell: np.ndarray
) -> dict[str, Any]:
    """Depends on all sound so far."""
    following = np.tanh(0.8 * vector + 0.3 * embedding + 0.1 * hidden[:, 0] + 0.05 * cell[:, 1])
    return {
        "pose": 0.4 * following[:, :6],
        "next_vector": following,
        "next_hidden": 0.5 * hidden + 0.1,
        "next_cell": 0.9 * cell + 0.1,
    }


def key_points(audio: np.ndarray, boxes: np.ndarray, picture: np.ndarray) -> dict[str, Any]:
    """Each frame's points tell its own sound, its pose picture, and all the sound of the chunk."""
    own = np.stack([audio[0, :, 0, :10], audio[0, :, 3, 30:40]], axis=-1) * 0.01
    box = (boxes[0, :, :250].reshape(CHUNK_FRAMES, 10, -1) > 0).mean(axis=2)[..., None]
    points = (own + box + audio[0].mean() * 0.01).astype(np.float32)
    return {
        "key_points": points[None],
        "jacobians": (UPRIGHT + points[..., None] * 0.1)[None].astype(np.float32),
    }


ANSWERS: dict[str, Callable[..., dict[str, Any]]] = {
    "audio2head_picture": picture,
    "audio2head_embedding": embedding,
    "audio2head_pose": pose,
    "audio2head_key_points": key_points,
}
