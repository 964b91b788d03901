"""Readiness of the embedded server's models: loaded, and the self test passed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.inference import InferenceError
from orchestrator.inference.embedded.budgets import (
    HEAVY_CPU_S,
    free_bytes,
    is_small,
    load_s,
    needed_bytes,
    start_allowance_s,
)
from orchestrator.inference.embedded.control_client import ControlClient, Failure
from orchestrator.inference.embedded.self_test import PROGRAM_TESTS, SelfTest, self_test_of
from orchestrator.inference.embedded.self_test_worker import measure_apart
from orchestrator.inference.model_contract import ModelContract, read_repository
from orchestrator.inference.model_fingerprint import Stamp, stamp_of

logger = logging.getLogger(__name__)

READY: Final = ""
"""Reason of a model that is ready: empty."""


@dataclass(frozen=True, slots=True)
class _Measured:
    stamp: Stamp | None
    self_test: SelfTest | None


class Readiness:
    """Keeps for each model why it is not ready, and makes it ready."""

    def __init__(self, repository: Path, names: tuple[str, ...]) -> None:
        """Read the repository; raises `ContractError` if a configuration cannot be read."""
        known = read_repository(repository).models
        self._contracts: dict[str, ModelContract | None] = {name: known.get(name) for name in names}
        self._measured: dict[str, _Measured] = {}
        self._reasons = dict.fromkeys(names, "the server is starting")
        self._stamps: dict[str, Stamp | None] = {}

    @property
    def reasons(self) -> Mapping[str, str]:
        """Reason by model for not being ready; `READY` for a ready one."""
        return self._reasons

    def is_ready(self, model: str) -> bool:
        """True if the model, and every member of an ensemble, is ready."""
        return all(self._reasons.get(each) == READY for each in (model, *self.steps(model)))

    def loaded_from(self, model: str) -> Stamp | None:
        """Stamp of the model's files when the server last read them."""
        return self._stamps.get(model)

    def withdraw(self, reason: str, model: str | None = None) -> None:
        """Mark one model, or all, as not ready any more."""
        self._reasons.update(dict.fromkeys([model] if model else self._reasons, reason))

    def record(self, model: str, reason: str, *, quiet: bool = False) -> None:
        """Record the outcome of an attempt to make a model ready.

        A repeated reason is logged once, an expected one at debug level.
        """
        level = logging.DEBUG if quiet or reason == self._reasons[model] else logging.WARNING
        self._reasons[model] = reason
        if reason:
            logger.log(level, "model %s is not ready: %s", model, reason)

    def absent(self, model: str) -> str:
        """Description of what the model lacks in the repository; empty if nothing."""
        contract = self._contracts[model]
        if contract is None:
            return "it is not in the model repository"
        return (
            ""
            if contract.present
            else f"{contract.file} is missing; make it with: python -m export {model}"
        )

    def contract(self, model: str) -> ModelContract:
        """Contract of a model that is not absent."""
        contract = self._contracts[model]
        assert contract is not None
        return contract

    def steps(self, model: str) -> tuple[str, ...]:
        """The member models of an ensemble in their order; empty for other models."""
        contract = self._contracts.get(model)
        return () if contract is None else contract.steps

    async def measure(self, model: str) -> str:
        """Measure the expected answer of the model's self test, once for each version of its file.

        Returns the reason if the model cannot run, else an empty string.
        """
        contract = self.contract(model)
        stamp = stamp_of(contract)
        measured = self._measured.get(model)
        if measured is not None and measured.stamp == stamp:
            return ""
        apart = (
            contract.backend == "onnxruntime"
            and model not in PROGRAM_TESTS
            and not is_small(contract)
        )
        try:
            self_test = await (
                measure_apart(contract) if apart else asyncio.to_thread(self_test_of, contract)
            )
        except InferenceError as error:
            return error.message
        self._measured[model] = _Measured(stamp, self_test)
        return ""

    def cost_s(self, model: str) -> float:
        """CPU time in seconds of opening the model and one answer; 0 where unknown."""
        self_test = self._self_test(model)
        return 0.0 if self_test is None else self_test.opening_cpu_s + self_test.answer_cpu_s

    def is_heavy(self, model: str) -> bool:
        """True if one answer occupies a core so long that other models need protection from it."""
        self_test = self._self_test(model)
        return self_test is not None and self_test.answer_cpu_s > HEAVY_CPU_S

    def lacks_memory(self, model: str) -> str:
        """Reason why loading the model would endanger running models, else an empty string."""
        free, wanted = free_bytes(), needed_bytes(self.contract(model))
        if free >= wanted:
            return ""
        return (
            f"it needs about {wanted >> 20} MiB of memory, {free >> 20} MiB are free: "
            "serve fewer models with --models"
        )

    def start_allowance_s(self, models: Iterable[str]) -> float:
        """Time in seconds that these models may add to the server's start."""
        return sum(
            start_allowance_s(self.contract(model)) for model in models if not self.absent(model)
        )

    async def load(self, control: ControlClient, model: str) -> str:
        """Load the model unless it is loaded; return the reason of a failure, else empty."""
        self._stamps[model] = stamp_of(self.contract(model))
        return await control.load(model, load_s(self.contract(model), self.cost_s(model)))

    async def failure(self, control: ControlClient, model: str) -> Failure | None:
        """Run the self test; None if it passes or no expected answer is known."""
        contract, self_test = self._contracts[model], self._self_test(model)
        return (
            None
            if contract is None or self_test is None
            else await control.run_self_test(contract, self_test)
        )

    async def make_ready(self, control: ControlClient, model: str) -> str:
        """Load the model if necessary, run its self test and record the outcome.

        Returns the reason if it is not ready, else an empty string.
        """
        reason = self.absent(model) or await self.measure(model) or await self.load(control, model)
        if not reason and (failure := await self.failure(control, model)) is not None:
            reason = failure.reason
        self.record(model, reason)
        return reason

    def _self_test(self, model: str) -> SelfTest | None:
        measured = self._measured.get(model)
        return None if measured is None else measured.self_test
