"""Which models of the embedded server may be used: loaded, and their canary answered as it should."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator.inference import InferenceError
from orchestrator.inference.canary import Canary, canary_of
from orchestrator.inference.control import Control
from orchestrator.inference.repository import ModelContract, read_repository

LOG = logging.getLogger(__name__)

READY: Final = ""
"""The reason of a model that is ready for not being so."""


class Admission:
    """Knows of each model why it is not ready, and how to make it ready."""

    def __init__(self, repository: Path, names: tuple[str, ...]) -> None:
        """Raises `ContractError` if a configuration cannot be read."""
        known = read_repository(repository).models
        self._contracts: dict[str, ModelContract | None] = {name: known.get(name) for name in names}
        self._canaries: dict[str, Canary | None] = {}
        self._reasons = dict.fromkeys(names, "the server is starting")

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why each model is not ready; `READY` if it is."""
        return self._reasons

    @property
    def complete(self) -> bool:
        """Whether all are ready."""
        return not any(self._reasons.values())

    def withdraw(self, reason: str, model: str | None = None) -> None:
        """Says that a model, or every one, is not ready any more."""
        self._reasons.update(dict.fromkeys([model] if model else self._reasons, reason))

    async def prepare(self) -> None:
        """Finds out what the canaries have to answer; once for each model, in a thread, while the server starts."""
        for name, contract in self._contracts.items():
            if contract is not None and contract.present and name not in self._canaries:
                with contextlib.suppress(InferenceError):  # the server will say what is wrong with the file
                    self._canaries[name] = await asyncio.to_thread(canary_of, contract)

    async def admit_all(self, control: Control) -> None:
        """After the server's start."""
        await asyncio.gather(*(self.admit(control, name) for name in self._contracts))

    async def admit(self, control: Control, model: str) -> None:
        """Loads the model if that is still to do, asks its canary, and notes the outcome."""
        reason = _absent(model, self._contracts[model]) or await control.load(model) or await self.failure(control, model)
        self._reasons[model] = reason
        if reason:
            LOG.warning("model %s is not ready: %s", model, reason)

    async def failure(self, control: Control, model: str) -> str:
        """Why the model fails its canary, or `READY`; also where no answer is known."""
        contract, canary = self._contracts[model], self._canaries.get(model)
        return READY if contract is None or canary is None else await control.passes(contract, canary)

    async def retry(self, control: Control) -> None:
        """A model that was not ready may have been exported or mended in the meantime."""
        for name, contract in self._contracts.items():
            if self._reasons[name] and contract is not None and contract.present:
                await self.prepare()
                await control.unload(name)
                await self.admit(control, name)


def _absent(model: str, contract: ModelContract | None) -> str:
    if contract is None:
        return "it is not in the model repository"
    return "" if contract.present else f"{contract.file} is missing; make it with: python -m export {model}"
