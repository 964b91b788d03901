"""Several instances of the service, each a process of its own without a Triton: their faces rest,
on the same wire.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
from serving import PATIENT, serve

RESTING = ("--models", "static", "--default-model", "static")


@contextmanager
def instances(
    folder: Path, count: int, **settings: str
) -> Iterator[list[tuple[str, psutil.Process]]]:
    """Address and process of each; `settings` are those of the environment without their prefix."""
    environment = PATIENT | {f"LIPSYNC_{key.upper()}": value for key, value in settings.items()}
    with ExitStack() as stack:
        started = []
        for number in range(count):
            storage = folder / f"instance-{number}"
            storage.mkdir()
            started.append(stack.enter_context(serve(storage, *RESTING, settings=environment)))
        yield started
