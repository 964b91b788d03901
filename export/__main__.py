"""`python -m export NAME ...`: run the command of that name with the remaining arguments."""

from __future__ import annotations

import sys
from importlib import import_module

from export import command
from orchestrator.core.child_environment import use_single_threads

NETWORKS = {
    "audio2motion": "export.audio2motion.command",
    "check": "export.check",
    "verify": "export.verify",
}
"""Name -> module with `main(arguments) -> exit status`.

The public models share `export.command`.
"""


def main(arguments: list[str]) -> int:
    names = (*NETWORKS, *command.MODELS)
    if not arguments or arguments[0] not in names:
        print(f"usage: python -m export {{{','.join(names)}}} [options]", file=sys.stderr)
        return 2
    use_single_threads()  # before numpy is imported; worker processes inherit it
    if arguments[0] in command.MODELS:
        return command.main(arguments[0], arguments[1:])
    status: int = import_module(NETWORKS[arguments[0]]).main(arguments[1:])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
