"""Entry point of the `lipsync` program and of `python -m orchestrator`."""

from __future__ import annotations

import sys

from orchestrator.cli.program import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
