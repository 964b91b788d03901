"""Types of command-line arguments that are not settings: the configuration checks those."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

N = TypeVar("N", int, float)


def within(kind: type[N], least: float, most: float) -> Callable[[str], N]:
    """An `argparse` type: a finite number of this kind from `least` to `most`."""
    name = "a whole number" if kind is int else "a number"

    def parsed(text: str) -> N:
        with suppress(ValueError):
            value = kind(text)
            if least <= value <= most:
                return value
        raise argparse.ArgumentTypeError(f"{text!r}: must be {name} from {least:g} to {most:g}")

    return parsed


def absolute_folder(text: str) -> str:
    """An `argparse` type: an absolute path on another machine.

    It has no character that would break a quoted value of a `config.pbtxt`.
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
