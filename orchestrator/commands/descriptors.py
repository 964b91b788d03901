"""File descriptors of this process: each connection takes one, and many shells allow 1024."""

from __future__ import annotations

import resource
from typing import Final

from orchestrator.config import ConfigError

LEAST: Final = 64
"""What the service opens by itself with the built-in models, and a few connections."""

WANTED: Final = 65_536
"""Nobody is served by more; tables of some programs grow with the limit."""


def allow_many() -> None:
    """Raise the soft limit as far as the hard one allows; refuse one that is too low for a service to start."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = WANTED if hard == resource.RLIM_INFINITY else min(hard, WANTED)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft := allowed, hard))
    if soft != resource.RLIM_INFINITY and soft < LEAST:
        raise ConfigError(f"only {soft} files may be open at once, and each connection is one: allow more with `ulimit -n 4096`")
