"""File descriptors of this process: each connection takes one, and many shells allow 1024."""

from __future__ import annotations

import resource
from typing import Final

from orchestrator.config import ConfigError

LEAST: Final = 64
"""What the service opens by itself with the built-in models, and a few connections."""

MOST: Final = 65_536
"""More are not asked for: some programs reserve a table of all that are allowed."""


def allow_many() -> None:
    """Raise the soft limit as far as the hard one allows; ConfigError where a service could not start with it."""
    allowed = allowed_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < LEAST:
        raise ConfigError(f"only {allowed} files may be open at once, and each connection is one: allow more with `ulimit -n 4096`")


def allowed_descriptors() -> int:
    """Descriptors that `allow_many` makes available."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
