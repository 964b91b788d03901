"""Weights of a model's networks, from public checkpoints or from a seed, with a label."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import nn

from export.base import PublicNetwork
from export.containers import WrongCheckpointError
from export.seeded import seeded_state
from export.weights import Checkpoint

Provenance: TypeAlias = dict[str, Any]
"""Entry of a parity report on one network's weights."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A network in eval mode, and the origin of its weights."""

    module: nn.Module
    label: str
    """Label for people: "seeded 1 (random, for tests)", or a file name and part of its SHA-256."""
    provenance: Provenance


def seeded_networks(
    networks: Mapping[str, PublicNetwork], wanted: Collection[str], seed: int
) -> dict[str, Filled]:
    """Random weights by the rule of the upstream records, for tests without a checkpoint."""
    label = f"seeded {seed} (random weights, for tests only)"
    return {
        name: Filled(_seeded(networks[name], seed), label, _seeded_provenance(networks[name], seed))
        for name in wanted
    }


def checkpoint_networks(
    networks: Mapping[str, PublicNetwork],
    wanted: Collection[str],
    optional: Collection[str],
    checkpoints: Sequence[Checkpoint],
) -> dict[str, Filled]:
    """Load every network from the file that holds it; those `optional` may be missing.

    Raises `WrongCheckpointError` for a missing network, and for a file that holds none.
    """
    filled: dict[str, Filled] = {}
    used: set[int] = set()
    for name in wanted:
        errors: list[WrongCheckpointError] = []
        for index, checkpoint in enumerate(checkpoints):
            try:
                filled[name] = _loaded(networks[name], checkpoint)
            except WrongCheckpointError as error:
                errors.append(error)
            else:
                used.add(index)
                break
        if name not in filled and name not in optional:
            raise WrongCheckpointError("\n".join(str(error) for error in errors))
    unused = [
        checkpoint.path.name for index, checkpoint in enumerate(checkpoints) if index not in used
    ]
    if unused:
        wants = (
            ", ".join(networks[name].source.network for name in wanted if name not in filled)
            or "nothing more"
        )
        raise WrongCheckpointError(
            f"{', '.join(unused)} holds no network that is still needed ({wants})"
        )
    return filled


def _loaded(network: PublicNetwork, checkpoint: Checkpoint) -> Filled:
    module = _built(network.build)
    record = checkpoint.load(module, network.source)
    return Filled(
        module,
        f"{record.file} (SHA-256 {record.sha256[:16]})",
        {"network": network.source.network, **asdict(record)},
    )


def _seeded(network: PublicNetwork, seed: int) -> nn.Module:
    module = _built(network.build)
    own = module.state_dict()
    tensors = {
        key: {
            "shape": list(value.shape),
            "dtype": str(value.dtype).removeprefix("torch."),
            "gain": network.gains.get(key, 1.0),
            "constant": key in network.constants,
        }
        for key, value in own.items()
    }
    state = seeded_state(tensors, seed, network.gain)
    module.load_state_dict(
        {
            **own,
            **{key: torch.from_numpy(np.array(value, order="C")) for key, value in state.items()},
        },
        strict=True,
    )
    return module


def _seeded_provenance(network: PublicNetwork, seed: int) -> Provenance:
    return {
        "network": network.source.network,
        "seeded": seed,
        "origin": "random numbers by a rule, for tests only",
        "licence": "none needed",
    }


def _built(build: Callable[[], nn.Module]) -> nn.Module:
    return build().eval().requires_grad_(False)
