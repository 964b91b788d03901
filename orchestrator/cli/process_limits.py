"""Kernel limits of this process: file descriptors, one for each connection, and threads."""

from __future__ import annotations

import resource
import threading
from typing import Final

from orchestrator.core.config import ConfigError

MIN_DESCRIPTORS: Final = 64
"""Descriptors of the service with the built-in models, and of a few connections."""

MAX_DESCRIPTORS: Final = 65_536
"""Largest limit to request: some programs reserve a table of all allowed descriptors."""

THREADS: Final = 200
"""Threads needed. The service, tritonserver and the built-in models have 148 on two cores;
libraries abort where they cannot start one.
"""

STACK_BYTES: Final = 64 << 10
"""Stack of a thread that only waits, in bytes."""

THREADS_FIX: Final = "raise `ulimit -u`, or the container's limit (docker run --pids-limit)"


def prepare() -> None:
    """Raise the soft limit of descriptors to the hard one.

    Raises ConfigError where the limits are too low for a service.
    """
    allowed = allowed_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < MIN_DESCRIPTORS:
        raise ConfigError(
            f"only {allowed} files may be open at once, and each connection is one: allow more "
            "with `ulimit -n 4096`"
        )
    if (started := startable_threads()) < THREADS:
        raise ConfigError(
            f"only {started} threads can be started, and {THREADS} are needed: {THREADS_FIX}"
        )


def allowed_descriptors() -> int:
    """Descriptors that `prepare` makes available."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MAX_DESCRIPTORS)


def startable_threads() -> int:
    """Number of threads, at most `THREADS`, that can be started now.

    Found by starting them: limits of the user, the container and the memory apply.
    """
    over, started = threading.Event(), []
    before = threading.stack_size(STACK_BYTES)
    try:
        for _ in range(THREADS):
            thread = threading.Thread(target=over.wait)
            thread.start()
            started.append(thread)
    except RuntimeError:  # the limit is reached
        pass
    finally:
        threading.stack_size(before)
        over.set()
        for thread in started:
            thread.join()
    return len(started)
