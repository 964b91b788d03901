"""The model repository of a fresh clone, whatever was exported into this one."""

from __future__ import annotations

import shutil
from pathlib import Path

from orchestrator.cli.startup_models import BUILT_IN
from orchestrator.core.paths import MODEL_REPOSITORY


def clean_checkout(path: Path) -> Path:
    """Every configuration, and the built-in models' files; `path` is made."""
    for config in MODEL_REPOSITORY.glob("*/config.pbtxt"):
        others = () if config.parent.name in BUILT_IN else ("[0-9]*",)
        shutil.copytree(
            config.parent,
            path / config.parent.name,
            ignore=shutil.ignore_patterns("__pycache__", *others),
        )
    return path
