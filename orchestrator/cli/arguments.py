"""Types of command-line arguments that are no settings: the configuration checks its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

N = TypeVar("N", int, float)


def within(kind: type[N], least: float, most: float) -> Callable[[str], N]:
    """A type for `argparse`: a number of that kind from `least` to `most`, so none that is infinite
    or no number.
    """
    name = "a whole number" if kind is int else "a number"

    def parsed(text: str) -> N:
        with suppress(ValueError):
            value = kind(text)
            if least <= value <= most:
                return value
        raise argparse.ArgumentTypeError(f"{text!r}: must be {name} from {least:g} to {most:g}")

    return parsed


def absolute_folder(text: str) -> str:
    """A type for `argparse`: an absolute path of another machine, as it can stand between quotes in
    a `config.pbtxt`.
    """
    if (
        not text.startswith("/")
        or not text.isprintable()
        or any(letter in text for letter in '"\\')
    ):
        raise argparse.ArgumentTypeError(
            f"{text!r}: must be an absolute path without quotes and backslashes"
        )
    return text
