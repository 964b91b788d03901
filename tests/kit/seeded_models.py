"""Model repositories with public networks of seeded weights beside the built-in models: what they
say is noise, how is real.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from project_root import ROOT

from orchestrator.core.paths import MODEL_REPOSITORY

BUILT_IN = ("audio2motion", "tpsm")
NEEDED = ("torch", "onnx")
SEED = "1"
EXPORT_TIMEOUT_S = 1800

SeededRepository = Callable[..., Path]
"""`seeded_repository("wav2lip", "wav2lip")`: a model's name for the exporter, then the Triton
models to make; the repository.
"""


@pytest.fixture(scope="session")
def seeded_repository(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> SeededRepository:
    """Exports each network once and keeps it in pytest's cache until an exporter changes; skips
    where torch is missing.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    exports = pytestconfig.cache.mkdir("seeded_models")

    def build(model: str, *networks: str) -> Path:
        if missing:
            pytest.skip(
                f"{' and '.join(missing)} not installed: it exports the seeded networks and comes "
                "with the extra 'export'"
            )
        _export(exports, model, networks)
        repository = tmp_path_factory.mktemp("repository")
        for name in BUILT_IN:
            (repository / name).symlink_to(MODEL_REPOSITORY / name)
        for name in networks:
            (repository / name).symlink_to(exports / name)
        return repository

    return build


def _export(exports: Path, model: str, networks: tuple[str, ...]) -> None:
    """Makes those that are missing or that another exporter made; one test run at a time."""
    keys = {name: _key(model, name) for name in networks}
    with (exports / f"{model}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stale = [
            name
            for name in networks
            if not (exports / name / "key").is_file()
            or (exports / name / "key").read_text() != keys[name]
        ]
        if not stale:
            return
        for name in stale:
            shutil.rmtree(exports / name, ignore_errors=True)
        arguments = [
            model,
            "--seeded",
            SEED,
            "--repository",
            str(exports),
            "--networks",
            ",".join(stale),
            "--batches",
            "1",
        ]
        done = subprocess.run(
            [sys.executable, "-m", "export", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=EXPORT_TIMEOUT_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        for name in stale:
            (exports / name / "key").write_text(keys[name])


def _key(model: str, network: str) -> str:
    """Changes with the exporter's source, with the network's configuration and with torch."""
    digest = sha256(" ".join(importlib.metadata.version(name) for name in NEEDED).encode())
    package = ROOT / "export" / "networks" / model.replace("-", "_")
    for file in (
        *sorted((ROOT / "export").glob("*.py")),
        *sorted(package.glob("*.py")),
        MODEL_REPOSITORY / network / "config.pbtxt",
    ):
        digest.update(file.read_bytes())
    return digest.hexdigest()
