"""`python -m export NETWORK ...`: hands the rest of the command line to that network's own command."""

from __future__ import annotations

import os
import sys
from importlib import import_module

NETWORKS = {"audio2motion": "export.audio2motion.command", "verify": "export.verify"}
"""Wire name of a network -> module with `main(arguments) -> exit status`."""


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in NETWORKS:
        print(f"usage: python -m export {{{','.join(NETWORKS)}}} [options]", file=sys.stderr)
        return 2
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # read when numpy is first imported; worker processes inherit it
    status: int = import_module(NETWORKS[arguments[0]]).main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
