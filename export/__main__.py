"""`python -m export NETWORK ...`: hands the rest of the command line to that network's own command."""

from __future__ import annotations

import sys
from importlib import import_module

NETWORKS = {"audio2motion": "export.audio2motion.command"}
"""Wire name of a network -> module with `main(arguments) -> exit status`."""


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in NETWORKS:
        print(f"usage: python -m export {{{','.join(NETWORKS)}}} [options]", file=sys.stderr)
        return 2
    status: int = import_module(NETWORKS[arguments[0]]).main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
