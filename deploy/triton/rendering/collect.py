"""Copy what a Triton model imports of `orchestrator`, followed through the imports, beside this
folder's pyproject.toml.

    python collect.py model_repository/tpsm/1/model.py . TARGET

The standard library only, so that an image can run it before anything is installed.
"""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PACKAGE: Final = "orchestrator"


def closure(model: Path, root: Path) -> set[Path]:
    """Files below `root` that `model` needs, their packages' `__init__.py` included; paths are
    relative to `root`.

    ModuleNotFoundError where an imported module of the package has no file.
    """
    found: set[Path] = set()
    pending = list(_imported(model, root))
    while pending:
        for file in _files(pending.pop(), root) - found:
            found.add(file)
            pending += _imported(root / file, root)
    return found


def collect(model: Path, root: Path, target: Path) -> None:
    """Write the closure of `model` and the project file that makes a distribution of it into the
    folder `target`.
    """
    for file in closure(model, root):
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / file, target / file)
    shutil.copy(Path(__file__).with_name("pyproject.toml"), target)


def _imported(file: Path, root: Path) -> Iterator[str]:
    """Modules of the package that a file names in any import, in functions too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [node.module, *(name for name in members if _file(name, root))]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == PACKAGE)


def _files(module: str, root: Path) -> set[Path]:
    """The file of a module and those of the packages around it."""
    parts = module.split(".")
    names = [".".join(parts[: count + 1]) for count in range(len(parts))]
    files = {name: _file(name, root) for name in names}
    missing = [name for name, file in files.items() if file is None]
    if missing:
        raise ModuleNotFoundError(f"{missing[0]} has no file below {root}")
    return {file for file in files.values() if file is not None}


def _file(module: str, root: Path) -> Path | None:
    base = Path(*module.split("."))
    for file in (base / "__init__.py", base.with_suffix(".py")):
        if (root / file).is_file():
            return file
    return None


if __name__ == "__main__":
    collect(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
