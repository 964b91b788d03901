"""What every test may use."""

from __future__ import annotations

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from seeded_models import seeded_repository  # noqa: E402

__all__ = ["seeded_repository"]
