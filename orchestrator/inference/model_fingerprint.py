"""Identity of the bytes a network is served from, so that its results can be cached.

Results stay valid for as long as the identity stays.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from pathlib import Path
from typing import Final, TypeAlias

from orchestrator.inference.model_contract import ModelContract

Stamp: TypeAlias = tuple[tuple[str, int, int, int], ...]
"""Name, size in bytes, change time in ns and inode of every file of the served version.

Taken from `stat`; no file is read.
"""

READ_BYTES: Final = 1 << 20


def stamp_of(contract: ModelContract) -> Stamp | None:
    """Stamp of the model's files now; None where they are not on this machine."""
    try:
        stats = [(path, path.stat()) for path in _files(contract)]
    except OSError:
        return None
    return (
        tuple((path.name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for path, stat in stats)
        or None
    )


class NetworkIdentities:
    """SHA-256 of networks: read once, in a thread, and again only when a file changed."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[Stamp, str]] = {}
        self._reading = threading.Lock()

    async def of(self, contract: ModelContract, loaded: Stamp | None) -> str | None:
        """Identity of the network that was loaded when its files had the stamp `loaded`.

        None where the files have changed since, or never were here.
        """
        return await asyncio.to_thread(self._of, contract, loaded)

    def _of(self, contract: ModelContract, loaded: Stamp | None) -> str | None:
        with self._reading:
            if loaded is None or stamp_of(contract) != loaded:
                return None
            folder = contract.version_folder
            stamp, identity = self._known.get(folder, (None, ""))
            if stamp != loaded:
                identity = _sha256(contract)
                if stamp_of(contract) != loaded:
                    return None
                self._known[folder] = loaded, identity
            return identity


def _files(contract: ModelContract) -> list[Path]:
    """The network, and the files beside it that hold the weights of large ones."""
    return (
        sorted(path for path in contract.version_folder.iterdir() if path.is_file())
        if contract.present
        else []
    )


def _sha256(contract: ModelContract) -> str:
    found = hashlib.sha256()
    for path in _files(contract):
        found.update(f"{path.name} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(READ_BYTES):
                found.update(block)
    return found.hexdigest()
