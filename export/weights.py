"""Find a network's tensors in a checkpoint of any layout, load them strictly, record origin."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor, nn

from export.containers import WrongCheckpointError, read_container

Tensors: TypeAlias = dict[str, Tensor]

WRAPPERS: Final = ("state_dict", "model")
"""Keys under which trainers store a whole network or its sections."""

PARALLEL_PREFIX: Final = "module."
"""Prefix that `DataParallel` puts before every name."""

BATCH_COUNTER: Final = "num_batches_tracked"
"""Counter of batch norms, for training only; old files lack it."""

MAX_NAMED_DIFFERENCES: Final = 3
"""Largest number of tensors of each kind of difference that an error names."""

IDENTIFYING_TENSORS: Final = {
    "face_decoder_blocks.0.0.conv_block.0.weight": "Wav2Lip's generator",
    "binary_pred.0.weight": "Wav2Lip's quality discriminator",
    "face_encoder.0.conv_block.0.weight": "Wav2Lip's SyncNet",
    "conv1_1.weight": "the S3FD face detector",
    "fg_encoder.conv1.weight": "TPSM's key point detector",
    "bg_encoder.conv1.weight": "TPSM's background predictor",
    "hourglass.encoder.down_blocks.0.conv.weight": "TPSM's dense motion network",
    "resblock.0.conv1.weight": "TPSM's inpainting network",
    "id_encoder.0.weight": "TPSM's AVD network",
    "dense_motion_network.hourglass.encoder.down_blocks.0.conv.weight": (
        "a renderer of SadTalker or Audio2Head"
    ),
    "fc_roll.weight": "SadTalker's mapping network",
    "mapping1.weight": "SadTalker's audio-to-expression network",
    "backbone.conv1.weight": "SadTalker's face reconstruction",
    "em_audio.resnet.conv1.weight": "Audio2Head's head pose network",
    "conv1.weight": "a ResNet",
}
"""A tensor that only this network has, so that an error can name the file's content."""


@dataclass(frozen=True, slots=True)
class WeightsSource:
    """Published facts of one network's weights, declared beside its module."""

    network: str
    """Name in messages: "Wav2Lip's generator"."""
    sections: tuple[str, ...]
    """Names under which files keep it: keys of a dict, or prefixes before a dot.

    A file of this network alone needs none.
    """
    origin: str
    """Publisher and place of the checkpoint."""
    licence: str
    """Licence of the weights, not of the code; "unstated" where upstream states none."""


@dataclass(frozen=True, slots=True)
class WeightsRecord:
    """Record of loaded weights; reports and model cards repeat it."""

    file: str
    sha256: str
    container: str
    section: str
    """Section in the file; empty for the top."""
    tensors: int
    origin: str
    licence: str


class Checkpoint:
    """One file, read once; several networks may lie in it."""

    def __init__(self, path: Path) -> None:
        """Read the file; raises `WrongCheckpointError` where it holds no tensors."""
        self.path = path
        self.container, self._tree = read_container(path)
        self.sha256 = _sha256(path)

    def load(self, module: nn.Module, source: WeightsSource) -> WeightsRecord:
        """Fill the module.

        Raises `WrongCheckpointError` that names the first tensors that are missing, unknown or
        differ.
        """
        candidates = list(_candidates(self._tree, source.sections))
        if not candidates:
            raise WrongCheckpointError(self._without(source))
        expected = module.state_dict()
        section, tensors = min(
            candidates, key=lambda candidate: _Difference(expected, candidate[1]).size
        )
        difference = _Difference(expected, tensors)
        if difference.size:
            raise WrongCheckpointError(self._message(source, section, tensors, difference))
        self._refuse_broken_numbers(tensors)
        module.load_state_dict({**expected, **tensors}, strict=True)
        return WeightsRecord(
            self.path.name,
            self.sha256,
            self.container,
            section,
            len(tensors),
            origin=source.origin,
            licence=source.licence,
        )

    def _without(self, source: WeightsSource) -> str:
        names = ", ".join(str(key) for key in list(self._tree)[:8]) or "nothing"
        kind = (
            "an optimizer's state without the network"
            if _is_training_state(self._tree)
            else "a checkpoint of something else"
        )
        wanted = f" under {' or '.join(source.sections)}" if source.sections else ""
        return (
            f"{self.path.name} ({self.container}) is {kind}: it holds {names}; "
            f"expected the tensors of {source.network}{wanted}"
        )

    def _message(
        self, source: WeightsSource, section: str, tensors: Tensors, difference: _Difference
    ) -> str:
        where = f", section {section}" if section else ""
        held = f"{self.path.name} ({self.container}{where}, {len(tensors)} tensors)"
        other = next(
            (
                name
                for key, name in IDENTIFYING_TENSORS.items()
                if key in tensors and key in difference.unknown
            ),
            "",
        )
        looks = f" looks like {other} and" if other else ""
        return f"{held}{looks} does not fit {source.network}:\n{difference}"

    def _refuse_broken_numbers(self, tensors: Tensors) -> None:
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                raise WrongCheckpointError(
                    f"{self.path.name} has infinite or undefined numbers in {name}; "
                    "expected finite weights"
                )


class _Difference:
    """Difference between the tensors of a module and those of a file."""

    def __init__(self, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
        self.missing = [
            key for key in expected if key not in found and not key.endswith(BATCH_COUNTER)
        ]
        self.unknown = [key for key in found if key not in expected]
        self.reshaped = [
            key for key in expected if key in found and expected[key].shape != found[key].shape
        ]
        self._expected, self._found = expected, found

    @property
    def size(self) -> int:
        return len(self.missing) + len(self.unknown) + len(self.reshaped)

    def __str__(self) -> str:
        return "\n".join(
            (
                *_named(
                    "missing", [f"{key} {list(self._expected[key].shape)}" for key in self.missing]
                ),
                *_named(
                    "unknown", [f"{key} {list(self._found[key].shape)}" for key in self.unknown]
                ),
                *_named("of another shape", [self._shapes(key) for key in self.reshaped]),
            )
        )

    def _shapes(self, key: str) -> str:
        return (
            f"{key} is {list(self._found[key].shape)}, expected {list(self._expected[key].shape)}"
        )


def _named(kind: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    rest = (
        f"; and {len(lines) - MAX_NAMED_DIFFERENCES} more"
        if len(lines) > MAX_NAMED_DIFFERENCES
        else ""
    )
    return [f"  {len(lines)} {kind}: {'; '.join(lines[:MAX_NAMED_DIFFERENCES])}{rest}"]


def _candidates(
    tree: Mapping[Any, Any], sections: tuple[str, ...]
) -> Iterator[tuple[str, Tensors]]:
    """Places of the file in which the network may lie, the named sections first.

    With names as the module has them.
    """
    levels = [
        ("", tree),
        *(
            (wrapper, tree[wrapper])
            for wrapper in WRAPPERS
            if isinstance(tree.get(wrapper), Mapping)
        ),
    ]
    for where, level in levels:
        for section in sections:
            name = f"{where}.{section}" if where else section
            part = level.get(section)
            if (
                tensors := _tensors(part)
                if isinstance(part, Mapping)
                else _with_prefix(_tensors(level), f"{section}.")
            ):
                yield name, tensors
    for where, level in levels:
        if tensors := _tensors(level):
            yield where, tensors


def _tensors(level: Mapping[Any, Any]) -> Tensors:
    """The level's own tensors without the prefix of parallel training, if all have it."""
    tensors = {
        key: value
        for key, value in level.items()
        if isinstance(key, str) and isinstance(value, Tensor)
    }
    if tensors and all(key.startswith(PARALLEL_PREFIX) for key in tensors):
        return _with_prefix(tensors, PARALLEL_PREFIX)
    return tensors


def _with_prefix(tensors: Tensors, prefix: str) -> Tensors:
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }


def _is_training_state(tree: Mapping[Any, Any]) -> bool:
    if "param_groups" in tree:
        return True
    sections = [str(key) for key, value in tree.items() if isinstance(value, Mapping)]
    return bool(sections) and all("optim" in name or "schedul" in name for name in sections)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
