"""The table of commands, and the argument parser made from it."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestrator.cli import options


@dataclass(frozen=True, slots=True)
class Command:
    """One command of the `lipsync` program."""

    name: str
    help: str
    module: str
    """Module below `orchestrator.cli` with `run(options) -> exit status`. Imported when the
    command runs: each command pays for its own imports only.
    """
    option_groups: tuple[options.AddOptions, ...]

    def run(self, parsed: argparse.Namespace) -> int:
        """Run the command; return its exit status."""
        module = importlib.import_module(f"orchestrator.cli.{self.module}")
        runner: Callable[[argparse.Namespace], int] = module.run
        return runner(parsed)


COMMANDS: Final = (
    Command(
        "serve",
        "serve faces over WebSocket and HTTP",
        "serve",
        (
            options.storage_and_models,
            options.listening,
            options.model_selection,
            options.removed_flags,
            options.output_of_serve,
            options.licences,
        ),
    ),
    Command(
        "render",
        "render an audio file and a face to an MP4 with sound",
        "render",
        (options.recording, options.picture, options.storage_and_models, options.licences),
    ),
    Command(
        "enroll",
        "make a face model from a photo",
        "enroll",
        (options.photo, options.storage_and_models),
    ),
    Command(
        "models",
        "list the models and their availability",
        "models",
        (options.storage_and_models, options.triton_export, options.licences),
    ),
    Command(
        "bench",
        "measure stage times and live sessions",
        "bench.command",
        (
            options.storage_and_models,
            options.load,
            options.removed_flags,
            options.picture,
            options.licences,
        ),
    ),
    Command(
        "fetch",
        "download tritonserver and the face landmark model, which are not Python packages",
        "fetch",
        (options.downloads,),
    ),
    Command(
        "doctor",
        "check this machine; print the command that repairs what is missing",
        "doctor.command",
        (
            options.storage_and_models,
            options.listening,
            options.model_selection,
            options.licences,
        ),
    ),
)


def parser() -> argparse.ArgumentParser:
    """Parser of the program's arguments; `command` of its result is a `Command`."""
    program = argparse.ArgumentParser(
        prog="lipsync", description="Audio in, a speaking face out, in real time."
    )
    commands = program.add_subparsers(dest="command_name", required=True, metavar="COMMAND")
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.help, description=command.help)
        own.set_defaults(command=command)
        for add_options in command.option_groups:
            add_options(own)
    return program
