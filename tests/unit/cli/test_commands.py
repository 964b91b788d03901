"""The table of commands: each has a runner, and the program imports none before it runs."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

from orchestrator.cli.commands import COMMANDS, Command, parser

HEAVY = {"numpy", "cv2", "aiohttp", "onnxruntime", "tritonclient", "av"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_command_has_a_runner_of_parsed_options(command: Command) -> None:
    module = importlib.import_module(f"orchestrator.cli.{command.module}")
    assert list(inspect.signature(module.run).parameters) == ["options"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_parsed_command_line_holds_its_command(command: Command) -> None:
    required = {"render": ["speech.wav"], "enroll": ["photo.jpg", "--user", "ann"]}
    parsed = parser().parse_args([command.name, *required.get(command.name, [])])
    assert parsed.command is command


def test_parsing_arguments_imports_no_heavy_package() -> None:
    program = (
        "import sys; from orchestrator.cli.commands import parser; "
        f"parser().parse_args(['serve']); print(*({HEAVY!r} & sys.modules.keys()))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == ""
