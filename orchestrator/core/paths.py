"""Paths of what lies beside the code: the model repository, the shipped faces, the page and its
samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parents[1]
"""Folder of the package `orchestrator`."""

IMPORT_ROOT: Final = PACKAGE.parent
"""Entry of `sys.path` from which child processes import `orchestrator`."""

MODEL_REPOSITORY: Final = IMPORT_ROOT / "model_repository"
"""Triton model repository of this checkout."""

PAGE: Final = PACKAGE / "server" / "static"
"""Static files of the page."""

SAMPLES: Final = PAGE / "samples"
"""Recordings of speech, 16-bit PCM WAV, that the page, the capacity probe and `lipsync bench` play.
"""

SHIPPED_FACES: Final = PACKAGE / "faces" / "builtin"
"""The portrait that comes with the package, in the layout of any other store."""

ONNXRUNTIME_BACKEND: Final = PACKAGE / "inference" / "backend" / "onnxruntime"
"""Backend by which the embedded server runs ONNX models; the fetched server has none of its own."""
