"""Null models in place of those of `tpsm`: same names and contracts, no computation.

With them a benchmark measures the service alone, as where a GPU runs the models.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from orchestrator.core.paths import MODEL_REPOSITORY

MODELS: Final = ("audio2motion", "tpsm", "tpsm_speech")

_MOTION_CONFIG: Final = """
name: "audio2motion" backend: "python" max_batch_size: 16
input [ { name: "mel" data_type: TYPE_FP32 dims: [ 88, 80 ] } ]
output [ { name: "motion" data_type: TYPE_FP32 dims: [ 16, 7 ] } ]
instance_group [ { count: 1 } ]
dynamic_batching { max_queue_delay_microseconds: 500 }
"""
_MOTION_MODEL: Final = """
import numpy as np
import triton_python_backend_utils as pb_utils
from orchestrator.core.dlpack import to_tensor

class TritonPythonModel:
    def initialize(self, args):
        self.motion = np.zeros((16, 16, 7), np.float32)

    def execute(self, requests):
        mels = [pb_utils.get_input_tensor_by_name(each, "mel") for each in requests]
        motions = [self.motion[: len(np.from_dlpack(mel))] for mel in mels]
        tensors = [to_tensor(pb_utils, "motion", each) for each in motions]
        return [pb_utils.InferenceResponse([each]) for each in tensors]
"""
_TPSM_MODEL: Final = """
import cv2
import numpy as np
import triton_python_backend_utils as pb_utils
from orchestrator.core.dlpack import to_tensor
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, face_prefix
from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.rendering.test_card import card_frame
from orchestrator.rendering.frame_centres import spoken_motion

class TritonPythonModel:
    def initialize(self, args):
        folder = SHIPPED_FACES / face_prefix(DEMO_USER, DEMO_FACE)
        picture = cv2.resize(cv2.imread(str(folder / "neutral_pose.jpg")), (SIZE, SIZE))
        self.frames = np.repeat(picture[None, :, :, ::-1], 16, axis=0).copy()

    def execute(self, requests):
        return [self.respond(request) for request in requests]

    def respond(self, request):
        get = pb_utils.get_input_tensor_by_name
        steps, motion = get(request, "steps"), get(request, "motion")
        moments = pb_utils.get_input_tensor_by_name(request, "moments")
        if steps is None:
            rows = np.from_dlpack(motion)
        else:
            rows = spoken_motion(np.from_dlpack(steps), np.from_dlpack(moments))
        is_canary = not np.from_dlpack(pb_utils.get_input_tensor_by_name(request, "face")).any()
        cards = is_canary and np.stack([card_frame(row) for row in rows])
        frames = cards if is_canary else self.frames[: len(rows)]
        if steps is not None:
            frames = frames.reshape(len(np.from_dlpack(steps)), -1, *frames.shape[2:])
        return pb_utils.InferenceResponse([to_tensor(pb_utils, "frames", frames)])
"""


def write_null_models(folder: Path, size: int) -> None:
    """Write a model repository whose `tpsm` always returns the demo portrait at `size` pixels."""
    for name, model in (
        ("audio2motion", _MOTION_MODEL),
        ("tpsm", _TPSM_MODEL.replace("SIZE", str(size))),
    ):
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1" / "model.py").write_text(model)
    (folder / "audio2motion" / "config.pbtxt").write_text(_MOTION_CONFIG)
    shutil.copy(MODEL_REPOSITORY / "tpsm" / "config.pbtxt", folder / "tpsm")
    shutil.copytree(MODEL_REPOSITORY / "tpsm_speech", folder / "tpsm_speech")
