"""The `lipsync` program: parse the arguments, then run the named command."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Final

from orchestrator.cli.commands import Command, parser
from orchestrator.core.child_environment import use_single_threads

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as shells report it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status."""
    use_single_threads()
    parsed = parser().parse_args(arguments)
    _open_standard_streams()
    _print_any_text()
    command: Command = parsed.command
    try:
        return command.run(parsed)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ImportError as error:
        return _not_importable(error)


def _open_standard_streams() -> None:
    """Open closed standard streams on the null device. Otherwise a socket gets their descriptor,
    and libraries write their messages into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None and os.open(os.devnull, os.O_RDWR) == number:
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))


def _print_any_text() -> None:
    """Print characters that the terminal's encoding lacks as `\\xe9`: paths and face names may
    hold any.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _not_importable(error: ImportError) -> int:
    """Print the reason: a missing package or system library, or a folder that shadows a package."""
    shadowing = os.environ.get("PYTHONPATH")
    hint = (
        f"PYTHONPATH is {shadowing}, whose packages come first: unset it"
        if shadowing
        else "run `make install`, then `lipsync doctor`"
    )
    print(
        f"lipsync: {error.name or 'a package'} cannot be imported ({error}): {hint}",
        file=sys.stderr,
    )
    return 1
