"""Which models of the embedded server may be used: loaded, and their canary answered as it
should.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.inference import InferenceError
from orchestrator.inference.embedded.budgets import (
    HEAVY_S,
    free_bytes,
    is_small,
    load_s,
    patience_s,
    wants_bytes,
)
from orchestrator.inference.embedded.control_client import Control, Failure
from orchestrator.inference.embedded.self_test import KNOWN, Canary, canary_of
from orchestrator.inference.embedded.self_test_worker import canary_apart
from orchestrator.inference.model_contract import ModelContract, read_repository
from orchestrator.inference.model_fingerprint import Stamp, stamp_of

LOG = logging.getLogger(__name__)

READY: Final = ""
"""The reason of a model that is ready for not being so."""


@dataclass(frozen=True, slots=True)
class _Learnt:
    stamp: Stamp | None
    canary: Canary | None


class Admission:
    """Knows of each model why it is not ready, and how to make it ready."""

    def __init__(self, repository: Path, names: tuple[str, ...]) -> None:
        """Raises `ContractError` if a configuration cannot be read."""
        known = read_repository(repository).models
        self._contracts: dict[str, ModelContract | None] = {name: known.get(name) for name in names}
        self._learnt: dict[str, _Learnt] = {}
        self._reasons = dict.fromkeys(names, "the server is starting")
        self._stamps: dict[str, Stamp | None] = {}

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why each model is not ready; `READY` if it is."""
        return self._reasons

    def loaded_from(self, model: str) -> Stamp | None:
        """What the model's files looked like when the server was last made to read them."""
        return self._stamps.get(model)

    def withdraw(self, reason: str, model: str | None = None) -> None:
        """Says that a model, or every one, is not ready any more."""
        self._reasons.update(dict.fromkeys([model] if model else self._reasons, reason))

    def accept(self, model: str, reason: str, *, quiet: bool = False) -> None:
        """Notes the outcome of an attempt to make a model ready; the same reason is told once, an
        expected one quietly.
        """
        level = logging.DEBUG if quiet or reason == self._reasons[model] else logging.WARNING
        self._reasons[model] = reason
        if reason:
            LOG.log(level, "model %s is not ready: %s", model, reason)

    def absent(self, model: str) -> str:
        """What is missing of the model; empty if nothing is."""
        contract = self._contracts[model]
        if contract is None:
            return "it is not in the model repository"
        return (
            ""
            if contract.present
            else f"{contract.file} is missing; make it with: python -m export {model}"
        )

    def contract(self, model: str) -> ModelContract:
        """Of a model that is not absent."""
        contract = self._contracts[model]
        assert contract is not None
        return contract

    def steps(self, model: str) -> tuple[str, ...]:
        """The models that an ensemble asks; empty for others."""
        contract = self._contracts.get(model)
        return () if contract is None else contract.steps

    async def learn(self, model: str) -> str:
        """Finds out what the model's canary has to answer, once for each file; returns why it
        cannot run, else nothing.
        """
        contract = self.contract(model)
        stamp = stamp_of(contract)
        learnt = self._learnt.get(model)
        if learnt is not None and learnt.stamp == stamp:
            return ""
        apart = contract.backend == "onnxruntime" and model not in KNOWN and not is_small(contract)
        try:
            canary = await (
                canary_apart(contract) if apart else asyncio.to_thread(canary_of, contract)
            )
        except InferenceError as error:
            return error.message
        self._learnt[model] = _Learnt(stamp, canary)
        return ""

    def cost_s(self, model: str) -> float:
        """CPU time of opening the model and asking it once; 0 where that is not known."""
        canary = self._canary(model)
        return 0.0 if canary is None else canary.opening_s + canary.answering_s

    def is_heavy(self, model: str) -> bool:
        """Whether one answer keeps a core busy so long that other models have to be protected from
        it.
        """
        canary = self._canary(model)
        return canary is not None and canary.answering_s > HEAVY_S

    def lacks_memory(self, model: str) -> str:
        """Why loading the model would endanger what runs already, else nothing."""
        free, wanted = free_bytes(), wants_bytes(self.contract(model))
        if free >= wanted:
            return ""
        return (
            f"it wants about {wanted >> 20} MiB of memory and {free >> 20} MiB are free; serve "
            "fewer models with --models"
        )

    def patience_s(self, models: Iterable[str]) -> float:
        """What these models may add to the server's start."""
        return sum(patience_s(self.contract(model)) for model in models if not self.absent(model))

    async def load(self, control: Control, model: str) -> str:
        """Loads the model unless it is loaded; returns why it could not be, else nothing."""
        self._stamps[model] = stamp_of(self.contract(model))
        return await control.load(model, load_s(self.contract(model), self.cost_s(model)))

    async def failure(self, control: Control, model: str) -> Failure | None:
        """How the model fails its canary, if it does; None also where no answer is known."""
        contract, canary = self._contracts[model], self._canary(model)
        return None if contract is None or canary is None else await control.ask(contract, canary)

    async def admit(self, control: Control, model: str) -> str:
        """Loads the model if that is still to do, asks its canary, and notes the outcome: returns
        why it is not ready, else nothing.
        """
        reason = self.absent(model) or await self.learn(model) or await self.load(control, model)
        if not reason and (failure := await self.failure(control, model)) is not None:
            reason = failure.reason
        self.accept(model, reason)
        return reason

    def _canary(self, model: str) -> Canary | None:
        learnt = self._learnt.get(model)
        return None if learnt is None else learnt.canary
