"""A model whose one small, real network sees the face before it can speak, and an inference that
counts what it is asked.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fakes import ScriptedAdapter
from numpy.typing import NDArray
from tiny_onnx import write_projection

from orchestrator.core.types import FaceModel, LipSyncModel
from orchestrator.inference import Tensors
from orchestrator.inference.local.inference import LocalInference
from orchestrator.inference.model_contract import Repository, read_repository
from orchestrator.models.base import ArraySpec, FaceEncoding, Infer

EYE = "face_eye"
CONFIG = f"""name: "{EYE}" backend: "onnxruntime" max_batch_size: 4
input [{{ name: "mel" data_type: TYPE_FP32 dims: [4, 3] }}]
output [{{ name: "motion" data_type: TYPE_FP32 dims: [2, 5] }}]"""

INPUTS_BYTES = 1000
ENCODINGS_BYTES = 2 * 5 * 4


def eye_repository(path: Path, *, seed: int = 7) -> Repository:
    """A repository with the network alone; another seed is another network under the same name."""
    write_projection(
        path / EYE / "1" / "model.onnx", rows=4, columns=3, steps=2, parameters=5, seed=seed
    )
    (path / EYE / "config.pbtxt").write_text(CONFIG)
    return read_repository(path)


class CountingInference(LocalInference):
    """Real networks of a repository; `also_ready` names models that only have to seem ready."""

    def __init__(self, repository: Repository, also_ready: tuple[str, ...] = ()) -> None:
        super().__init__(repository)
        self.asked: Counter[str] = Counter()
        self.also_ready = also_ready

    async def ready(self, model: str) -> bool:
        return model in self.also_ready or await super().ready(model)

    async def infer(
        self, model: str, inputs: Tensors, *, deadline: float
    ) -> dict[str, NDArray[Any]]:
        self.asked[model] += 1
        return await super().infer(model, inputs, deadline=deadline)


class FarInference(CountingInference):
    """The networks are served by another machine."""

    async def identity(self, model: str) -> str | None:
        return None


@dataclass(frozen=True)
class SeenFace:
    """Prepared, and after encoding what the network saw."""

    size: int
    bands: NDArray[np.float32]
    nbytes: int = INPUTS_BYTES
    seen: NDArray[np.float32] | None = None


class LookingAdapter(ScriptedAdapter):
    """Draws grey pictures as soon as its network has seen the face's colours; `takes_s` is how long
    it looks.
    """

    face_models = (EYE,)

    def __init__(
        self,
        model: LipSyncModel = LipSyncModel.SADTALKER,
        *,
        takes_s: float = 0.0,
        by_size: bool = False,
        **fields: Any,
    ) -> None:
        super().__init__(model, **fields)
        self.spec = dataclasses.replace(self.spec, triton_models=(EYE,))
        self.encoding = FaceEncoding({"seen": ArraySpec("float32", (2, 5))}, by_size=by_size)
        self.takes_s = takes_s
        self.prepared: list[int] = []
        self.error: Exception | None = None

    def prepare(self, face: FaceModel, size: int) -> Any:
        self.prepared.append(size)
        bands = [band.mean(axis=(0, 1)) / 255.0 for band in np.array_split(face.neutral_pose, 4)]
        return SeenFace(size, np.array(bands, np.float32))

    async def encode(self, infer: Infer, face: SeenFace) -> dict[str, NDArray[Any]]:
        await asyncio.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        return {"seen": (await infer(EYE, {"mel": face.bands[None]}))["motion"][0]}

    def with_encodings(self, face: SeenFace, encodings: Mapping[str, NDArray[Any]]) -> Any:
        return dataclasses.replace(face, seen=encodings["seen"])
