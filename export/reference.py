"""Recorded outputs of upstream's own code: inputs for this project's modules, and tolerances."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from export.seeded import State, seeded_chirp, seeded_input, seeded_state, seeded_texture

if TYPE_CHECKING:
    from torch import nn

NOISE_FACTOR: Final = 20.0
"""Tolerance relative to the record's own rounding noise (float32 against float64).

Real mistakes are hundreds of times larger.
"""

TOLERANCE_FLOOR: Final = 1e-6

PICTURE_TOLERANCE: Final = 2.0
"""Tolerance in grey levels of uint8 pictures whose record states no noise.

A value near a whole number may be truncated to either level, and a resize may round once more.
Packed bits state 0 and stay exact.
"""


class ReferenceDataError(Exception):
    """The reference folder is unusable, or an output does not have the record's shape."""


class Reference:
    """One folder of `manifest.json` and `outputs_seedN.npz`."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.seed = seed
        try:
            self.manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
            with np.load(folder / f"outputs_seed{seed}.npz") as archive:
                self.records: dict[str, NDArray[Any]] = {key: archive[key] for key in archive.files}
        except (OSError, ValueError) as error:
            raise ReferenceDataError(
                f"{folder} holds no reference for seed {seed}: {error}"
            ) from error

    @cached_property
    def inputs(self) -> dict[str, NDArray[Any]]:
        """Every seeded input by name."""
        return {name: _input(spec, self.seed) for name, spec in self.manifest["inputs"].items()}

    @property
    def expected(self) -> tuple[str, ...]:
        """Keys of all recorded outputs."""
        return tuple(self.manifest["outputs"])

    def state(self, network: str) -> State:
        """The network's tensors by the weight rule."""
        spec = self.manifest["networks"][network]
        return seeded_state(spec["state"], self.seed, float(spec["gain"]))

    def fill(self, module: nn.Module, network: str) -> nn.Module:
        """Load the seeded tensors strictly into a module; its own constants stay.

        Returns it in eval mode.
        """
        import torch

        own = module.state_dict()
        tensors = self.manifest["networks"][network]["state"]
        if own.keys() != tensors.keys():
            odd = sorted(own.keys() ^ tensors.keys())
            raise ReferenceDataError(
                f"{network}: {len(odd)} keys differ from the manifest, the first: "
                f"{', '.join(odd[:5])}"
            )
        for key, spec in tensors.items():
            if tuple(own[key].shape) != tuple(spec["shape"]):
                raise ReferenceDataError(
                    f"{network}: "
                    f"{key} has shape {tuple(own[key].shape)}, upstream {tuple(spec['shape'])}"
                )
        own.update(
            {
                key: torch.from_numpy(np.array(value, order="C"))
                for key, value in self.state(network).items()
            }
        )
        module.load_state_dict(own, strict=True)
        return module.eval()

    def error(self, key: str, output: NDArray[Any]) -> float:
        """Largest difference between a complete output and the record.

        The record may be a sub-sample with mean and deviation.
        """
        index = self.manifest["outputs"][key].get("index")
        sample = output[_slices(index)] if index else output
        record = self.records[key]
        if sample.shape != record.shape:
            raise ReferenceDataError(f"{key}: shape {sample.shape}, recorded {record.shape}")
        errors = [np.abs(sample.astype(np.float64) - record.astype(np.float64)).max(initial=0.0)]
        for name, value in (
            ("mean", np.mean(output, dtype=np.float64)),
            ("std", np.std(output, dtype=np.float64)),
        ):
            if f"{key}.{name}" in self.records:
                errors.append(abs(float(value) - float(self.records[f"{key}.{name}"])))
        return float(max(errors))

    def measured(self, key: str) -> bool:
        """True if the manifest states the record's own rounding noise."""
        return "noise_abs" in self.manifest["outputs"][key]

    def tolerance(self, key: str, unmeasured: float = TOLERANCE_FLOOR) -> float:
        """Largest accepted error.

        `unmeasured` applies where the manifest states no noise and the record is no picture in
        bytes.
        """
        if self.measured(key):
            return max(
                TOLERANCE_FLOOR, NOISE_FACTOR * float(self.manifest["outputs"][key]["noise_abs"])
            )
        return PICTURE_TOLERANCE if self.records[key].dtype == np.uint8 else unmeasured


def digest(state: State) -> str:
    """Fingerprint of a seeded state: the first 16 hex digits of a SHA-256.

    Over keys and bytes in sorted order.
    """
    sha = hashlib.sha256()
    for key in sorted(state):
        sha.update(key.encode())
        sha.update(np.ascontiguousarray(state[key]).tobytes())
    return sha.hexdigest()[:16]


def _input(spec: dict[str, Any], seed: int) -> NDArray[Any]:
    name, shape = spec["name"], tuple(spec["shape"])
    if spec["kind"] == "chirp":
        return seeded_chirp(name, shape[0], seed)
    if spec["kind"] == "uniform":
        values: NDArray[Any] = seeded_input(name, shape, seed, spec["low"], spec["high"])
    elif spec["kind"] == "texture":
        values = seeded_texture(
            name, shape, seed, spec["low"], spec["high"], (spec["cell"][0], spec["cell"][1])
        )
    else:
        raise ReferenceDataError(f"input {name}: unknown kind {spec['kind']!r}")
    for step in spec.get("then", []):
        if step["op"] == "zero":
            values[_slices(step["index"])] = 0
        elif step["op"] == "hwc_uint8":
            values = np.ascontiguousarray(values.transpose(1, 2, 0)).astype(np.uint8)
        else:
            raise ReferenceDataError(f"input {name}: unknown step {step['op']!r}")
    return values


def _slices(texts: list[str]) -> tuple[slice, ...]:
    return tuple(
        slice(*(int(part) if part else None for part in text.split(":"))) for text in texts
    )
