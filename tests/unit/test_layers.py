"""The imports point one way, and each outside library is touched where the design says."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from project_root import ROOT

PACKAGE = ROOT / "orchestrator"

LAYERS = (
    {
        "types",
        "errors",
        "dlpack",
        "downloads",
        "paths",
        "config",
        "config_layers",
        "config_values",
        "channel",
        "cache",
        "metrics",
        "motion",
        "tracing",
        "logs",
        "frame_threads",
        "spectra",
    },
    {"rendering", "wire"},
    {"inference"},
    {"models"},
    {"audio", "face", "video", "streaming"},
    {"selection", "giving_way", "performance", "licences"},
    {"service", "pipeline", "choice", "benchmarking", "session", "turn", "live", "poster", "probes", "capacity", "batch_window"},
    {
        "app",
        "first_faces",
        "websocket",
        "conversation",
        "draining",
        "outgoing",
        "switchboard",
        "client",
        "http",
        "http_answers",
        "http_context",
        "http_errors",
        "http_faces",
        "http_media",
        "http_models",
        "http_uploads",
        "openapi",
        "gate",
        "auth",
        "allowance",
        "unsent",
        "commands",
        "__main__",
    },
)
"""From the ground up; a module may import from its own layer only within its own package, except at ground and top."""

ONLY_IMPORTERS = {
    "tritonclient": "inference/",
    "grpc": "inference/",
    "google.cloud": "face/bucket.py",
    "jwt": "auth.py",
}


def _files() -> list[Path]:
    return [path for path in PACKAGE.rglob("*.py") if "demo" not in path.relative_to(PACKAGE).parts and "backend" not in path.parts]


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _unit(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


def _layer(unit: str) -> int:
    matches = [level for level, units in enumerate(LAYERS) if unit in units]
    assert matches, f"orchestrator/{unit} stands in no layer; add it to LAYERS"
    return matches[0]


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    own = _unit(path.relative_to(PACKAGE).parts)
    if own == "__init__":
        return
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] != "orchestrator" or len(parts) < 2:
            continue
        other = parts[1]
        if other == own:
            continue
        own_level, other_level = _layer(own), _layer(other)
        siblings = own_level == other_level and own_level in (0, 6, 7)
        assert other_level < own_level or siblings, f"{path.relative_to(PACKAGE)} imports {name}, which does not lie below it"


@pytest.mark.parametrize(("library", "place"), list(ONLY_IMPORTERS.items()))
def test_only_one_place_imports(library: str, place: str) -> None:
    importers = {
        str(path.relative_to(PACKAGE))
        for path in _files()
        if any(name == library or name.startswith(f"{library}.") for name in _imports(path))
    }
    assert all(importer.startswith(place) for importer in importers), importers


def test_nothing_that_serves_or_measures_imports_scipy() -> None:
    root = PACKAGE.parent
    files = [path for folder in ("orchestrator", "model_repository", "benchmarks") for path in (root / folder).rglob("*.py")]
    assert files and not [str(path.relative_to(root)) for path in files if any(name.split(".")[0] == "scipy" for name in _imports(path))]


def test_the_wire_is_reached_through_its_package_only() -> None:
    parts = {f"orchestrator.wire.{path.stem}" for path in (PACKAGE / "wire").glob("*.py")} - {"orchestrator.wire.__init__"}
    outside = [path for path in _files() if path.relative_to(PACKAGE).parts[0] != "wire"]
    assert parts and not [path for path in outside if parts & _imports(path)]
