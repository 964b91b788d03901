"""Numbers on the command line, refused outside of their bounds. Settings are not: the configuration knows theirs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

N = TypeVar("N", int, float)


def within(kind: type[N], least: float, most: float) -> Callable[[str], N]:
    """A type for `argparse`: a number of that kind from `least` to `most`, so none that is infinite or no number."""
    name = "a whole number" if kind is int else "a number"

    def parsed(text: str) -> N:
        with suppress(ValueError):
            value = kind(text)
            if least <= value <= most:
                return value
        raise argparse.ArgumentTypeError(f"{text!r}: must be {name} from {least:g} to {most:g}")

    return parsed
