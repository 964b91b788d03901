"""`make` takes the newest interpreter that works, and names the way to one where there is none."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from project_root import ROOT

SCRIPT = ROOT / "tools" / "find_python.sh"
WORKS = f'#!/bin/sh\nexec {sys.executable} "$@"\n'
ABSENT = "#!/bin/sh\nexit 127\n"
"""As the shim of a version manager that has this version installed and not selected."""
TOO_OLD = f"#!/bin/sh\nexec {sys.executable} -c 'import sys; sys.exit(1)'\n"


def found(folder: Path, interpreters: dict[str, str]) -> subprocess.CompletedProcess[str]:
    for name, script in interpreters.items():
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    shell = shutil.which("sh")
    assert shell is not None
    return subprocess.run(
        [shell, str(SCRIPT)], env={"PATH": str(folder)}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("interpreters", "chosen"),
    [
        (
            {"python3.13": WORKS, "python3.12": WORKS, "python3.11": WORKS, "python3": WORKS},
            "python3.13",
        ),
        ({"python3.13": ABSENT, "python3.12": WORKS, "python3": WORKS}, "python3.12"),
        ({"python3.11": WORKS, "python3": WORKS}, "python3.11"),
        ({"python3": WORKS}, "python3"),
        (
            {"python3.13": ABSENT, "python3.12": TOO_OLD, "python3.11": TOO_OLD, "python3": WORKS},
            "python3",
        ),
    ],
)
def test_the_newest_interpreter_that_works_is_taken(
    tmp_path: Path, interpreters: dict[str, str], chosen: str
) -> None:
    done = found(tmp_path, interpreters)
    assert (done.returncode, done.stdout.strip()) == (0, chosen)


@pytest.mark.parametrize(
    "interpreters", [{}, {"python3": TOO_OLD}, {"python3.13": ABSENT, "python3": TOO_OLD}]
)
def test_without_one_a_line_names_the_commands_that_bring_one(
    tmp_path: Path, interpreters: dict[str, str]
) -> None:
    done = found(tmp_path, interpreters)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "apt-get install python3-venv" in line and "uv python install 3.13" in line
