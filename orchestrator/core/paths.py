"""Paths of the data beside the code: model repository, shipped faces, page and samples."""

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
"""Recordings of speech, 16-bit PCM WAV, for the page, the capacity probe and `lipsync bench`."""

SHIPPED_FACES: Final = PACKAGE / "faces" / "builtin"
"""The portrait of the package, in the layout of a face store."""

ONNXRUNTIME_BACKEND: Final = PACKAGE / "inference" / "backend" / "onnxruntime"
"""Triton backend of the embedded server for ONNX models; the fetched server has none."""
