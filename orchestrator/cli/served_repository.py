"""Models for an external `tritonserver`: its load arguments, or a repository of loadable models."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Final

from orchestrator.cli.load_order import loaded_later
from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.inference.model_contract import ModelContract, Repository

CACHE_PATH: Final = re.compile(r'(key: "trt_(?:engine|timing)_cache_path" value: )"[^"]*"')
"""Cache paths of a `configs/tensorrt.pbtxt`, as `export/tensorrt_config.py` writes it."""


def servable(config: ServiceConfig, repository: Repository) -> list[ModelContract]:
    """The configured and present Triton models in load order; an ensemble follows its members."""
    contracts = [
        repository.models[name] for name in loaded_later(config) if name in repository.models
    ]
    present = {contract.name for contract in contracts if contract.present}
    return [
        contract
        for contract in contracts
        if contract.present and present.issuperset(contract.steps)
    ]


def load_arguments(config: ServiceConfig, repository: Repository) -> list[str]:
    """Arguments with which `tritonserver` loads these models only.

    In its default mode one model without a file ends the server.
    """
    return [
        "--model-control-mode=explicit",
        *(f"--load-model={contract.name}" for contract in servable(config, repository)),
    ]


def write_repository(
    config: ServiceConfig, repository: Repository, folder: Path, tensorrt_cache: str | None = None
) -> list[str]:
    """Copy the servable models to a new or empty folder; return their names.

    Copies, since links would point out of a container's volume. `tensorrt_cache` is the folder for
    TensorRT's engines in the server's container; None keeps that of the configurations. Raises
    `ConfigError` for a folder with content.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not an empty folder: name a new one")
    contracts = servable(config, repository)
    for contract in contracts:
        _copy(contract, folder / contract.name, tensorrt_cache)
    return [contract.name for contract in contracts]


def _copy(contract: ModelContract, target: Path, tensorrt_cache: str | None) -> None:
    version = contract.version_folder
    # An ensemble's version folder is empty, so a checkout may lack it.
    (target / version.name).mkdir(parents=True)
    if version.is_dir():
        shutil.copytree(
            version,
            target / version.name,
            ignore=shutil.ignore_patterns("__pycache__"),
            dirs_exist_ok=True,
        )
    for config in (contract.folder / "config.pbtxt", *contract.folder.glob("configs/*.pbtxt")):
        copy = target / config.relative_to(contract.folder)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(_with_cache(config.read_text(), tensorrt_cache))


def _with_cache(text: str, folder: str | None) -> str:
    return text if folder is None else CACHE_PATH.sub(lambda found: f'{found[1]}"{folder}"', text)
