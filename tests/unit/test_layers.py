"""The imports point one way, without circles, and each outside library is touched where the design
says.
"""

from __future__ import annotations

import ast
import functools
import graphlib
from pathlib import Path

import pytest
from project_root import ROOT

from orchestrator.core.paths import PACKAGE

ORDER = (
    "core",
    "protocol",
    "rendering",
    "inference",
    "models",
    "audio",
    "faces",
    "video",
    "pipeline",
    "sessions",
    "client",
    "server",
    "cli",
)
"""From the ground up: a package imports from those before it."""

ONLY_IMPORTERS = {
    "aiohttp.web": ("server/",),
    "tritonclient": ("inference/",),
    "grpc": ("inference/",),
    "google.cloud": ("faces/storage/gcs.py",),
    "jwt": ("server/auth.py",),
    "cv2": ("rendering/", "inference/", "models/", "faces/", "video/", "cli/", "server/"),
}
"""Library -> where alone it is imported."""

PATHS = [path for path in sorted(PACKAGE.rglob("*.py")) if "backend" not in path.parts]


def _module(path: Path) -> str:
    parts = ("orchestrator", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


MODULES = {_module(path): path for path in PATHS}


@functools.cache
def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _own_imports(module: str) -> set[str]:
    return {name for name in _imports(MODULES[module]) if name in MODULES} - {
        module,
        "orchestrator",
    }


def _package(module: str) -> str:
    return module.split(".")[1]


def test_the_top_holds_the_packages_and_two_files() -> None:
    files = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")}
    entries = {path.parts[0] for path in files}
    assert entries == {*ORDER, "__init__.py", "__main__.py"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_point_down(module: str) -> None:
    if module in ("orchestrator", "orchestrator.__main__"):
        return
    own = ORDER.index(_package(module))
    above = {name for name in _own_imports(module) if ORDER.index(_package(name)) > own}
    assert not above, f"{module} imports {sorted(above)}, above its own package"


def test_no_imports_form_a_circle() -> None:
    graphlib.TopologicalSorter({module: _own_imports(module) for module in MODULES}).prepare()


def test_the_client_needs_nothing_but_the_protocol_and_the_core() -> None:
    needed = {
        _package(name)
        for module in MODULES
        if module.startswith("orchestrator.client")
        for name in _own_imports(module)
    }
    assert needed == {"core", "protocol", "client"}


def test_http_handlers_do_not_import_each_other() -> None:
    shared = {"context", "openapi", "schemas", "errors", "uploads", "access", "recordings"}
    handlers = {"system", "static_files", "faces", "render", "benchmark", "models"}
    prefix = "orchestrator.server.http."
    crossings = {
        (module, name)
        for module in MODULES
        if module.removeprefix(prefix) in handlers
        for name in _own_imports(module)
        if name.startswith(prefix) and name.removeprefix(prefix) not in shared
    }
    assert not crossings


@pytest.mark.parametrize(("library", "places"), list(ONLY_IMPORTERS.items()))
def test_only_its_places_import_a_library(library: str, places: tuple[str, ...]) -> None:
    importers = {
        str(path.relative_to(PACKAGE))
        for path in PATHS
        if any(name == library or name.startswith(f"{library}.") for name in _imports(path))
    }
    assert importers and all(importer.startswith(places) for importer in importers), importers


def test_inference_is_opened_in_one_place() -> None:
    openers = {
        str(path.relative_to(PACKAGE))
        for path in PATHS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("LocalInference", "TritonInference")
    }
    assert openers == {"inference/open_inference.py"}


def test_nothing_that_serves_or_measures_imports_scipy() -> None:
    folders = ("orchestrator", "model_repository", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    found = [
        path for path in files if any(name.split(".")[0] == "scipy" for name in _imports(path))
    ]
    assert files and not found


def test_the_protocol_is_reached_through_its_package_only() -> None:
    parts = {name for name in MODULES if name.startswith("orchestrator.protocol.")}
    outside = [module for module in MODULES if not module.startswith("orchestrator.protocol")]
    assert parts and not [module for module in outside if parts & _own_imports(module)]


def test_the_unit_tests_mirror_the_packages() -> None:
    unit = ROOT / "tests" / "unit"
    folders = {
        path.relative_to(unit)
        for path in unit.rglob("*")
        if path.is_dir() and path.name != "__pycache__"
    }
    ours = {folder for folder in folders if folder.parts[0] in ORDER}
    assert {folder.parts[0] for folder in folders} - set(ORDER) <= {
        "benchmarks",
        "docs",
        "export",
        "tools",
    }
    assert not [str(folder) for folder in ours if not (PACKAGE / folder / "__init__.py").exists()]
