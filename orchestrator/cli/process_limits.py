"""What the kernel lets this process have: file descriptors, of which each connection takes one, and
threads.
"""

from __future__ import annotations

import resource
import threading
from typing import Final

from orchestrator.core.config import ConfigError

LEAST: Final = 64
"""Descriptors that the service opens by itself with the built-in models, and a few connections."""

MOST: Final = 65_536
"""More descriptors are not asked for: some programs reserve a table of all that are allowed."""

THREADS: Final = 200
"""The service, tritonserver and the built-in models have 148 on two cores; libraries abort where
they get none.
"""

STACK_BYTES: Final = 64 << 10
"""Of a thread that only waits."""

THREADS_MEND: Final = "raise `ulimit -u`, or the container's limit (docker run --pids-limit)"


def prepare() -> None:
    """Raise the soft limit of descriptors as far as the hard one allows; ConfigError where a
    service could not run.
    """
    allowed = allowed_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < LEAST:
        raise ConfigError(
            f"only {allowed} files may be open at once, and each connection is one: allow more "
            "with `ulimit -n 4096`"
        )
    if (started := startable_threads()) < THREADS:
        raise ConfigError(
            f"only {started} threads can be started, and {THREADS} are needed: {THREADS_MEND}"
        )


def allowed_descriptors() -> int:
    """Descriptors that `prepare` makes available."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)


def startable_threads() -> int:
    """Threads, up to `THREADS`, that can be started now: the user's, the container's and the
    memory's limits are found by trying.
    """
    over, started = threading.Event(), []
    before = threading.stack_size(STACK_BYTES)
    try:
        for _ in range(THREADS):
            thread = threading.Thread(target=over.wait)
            thread.start()
            started.append(thread)
    except RuntimeError:  # no further one
        pass
    finally:
        threading.stack_size(before)
        over.set()
        for thread in started:
            thread.join()
    return len(started)
