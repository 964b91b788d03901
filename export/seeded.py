"""Fill state dicts and test inputs from names and a seed.

Two implementations can thus be compared without a checkpoint.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

State: TypeAlias = dict[str, NDArray[Any]]
"""Tensors by their state-dict key."""

POWER_ITERATIONS = 50


def seeded_state(tensors: Mapping[str, Mapping[str, Any]], seed: int, gain: float) -> State:
    """Every tensor of a manifest's `state` that is not marked constant; `gain` is the network's.

    Matrices are normal with variance gain^2 / fan_in, norm weights uniform around 1, biases normal
    * 0.1; each key has its own generator, so that the order does not matter. Spectral norm's
    `weight_u` and `weight_v` become singular vectors.
    """
    state: State = {}
    for key, spec in tensors.items():
        if not spec.get("constant"):
            dtype = np.dtype(spec.get("dtype", "float32"))
            state[key] = _fill(
                key, tuple(spec["shape"]), dtype, seed, gain * float(spec.get("gain", 1.0))
            )
    for key in [name for name in state if name.endswith("weight_u")]:
        _spectral_vectors(state, key.removesuffix("weight_u"))
    return state


def seeded_input(
    name: str, shape: tuple[int, ...], seed: int, low: float = 0.0, high: float = 1.0
) -> NDArray[np.float32]:
    """Uniform noise in [low, high)."""
    uniform = _generator(f"input:{seed}:{name}").random(shape)
    return (low + (high - low) * uniform).astype(np.float32)


def seeded_texture(
    name: str, shape: tuple[int, ...], seed: int, low: float, high: float, cell: tuple[int, int]
) -> NDArray[np.float32]:
    """A coarse grid (3/4) with fine noise (1/4).

    Unlike pure noise it does not average out in deep networks.
    """
    grid = (*shape[:-2], -(-shape[-2] // cell[0]), -(-shape[-1] // cell[1]))
    coarse = (
        _generator(f"input:{seed}:{name}.coarse")
        .random(grid)
        .repeat(cell[0], axis=-2)
        .repeat(cell[1], axis=-1)
    )
    fine = _generator(f"input:{seed}:{name}.fine").random(shape)
    mixed = 0.75 * coarse[..., : shape[-2], : shape[-1]] + 0.25 * fine
    return (low + (high - low) * mixed).astype(np.float32)


def seeded_chirp(
    name: str, samples: int, seed: int, sample_rate_hz: int = 16_000
) -> NDArray[np.float32]:
    """A sweep from 100 Hz to 4 kHz with a tremolo, some noise and a tenth of digital silence."""
    time_s = np.arange(samples) / float(sample_rate_hz)
    sweep = 0.5 * np.sin(2 * np.pi * (100.0 * time_s + 0.5 * 3900.0 * time_s * time_s))
    signal = sweep * (0.2 + 0.8 * np.abs(np.sin(2 * np.pi * 2.0 * time_s)))
    signal += 0.05 * seeded_input(name, (samples,), seed, -1.0, 1.0).astype(np.float64)
    signal[samples // 2 : samples // 2 + samples // 10] = 0.0
    return signal.astype(np.float32)


def _generator(text: str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(zlib.crc32(text.encode())))


def _fill(
    key: str, shape: tuple[int, ...], dtype: np.dtype[Any], seed: int, gain: float
) -> NDArray[Any]:
    if dtype.kind in "iub":
        return np.zeros(shape, dtype)
    generator, leaf = _generator(f"{seed}:{key}"), key.rsplit(".", 1)[-1]
    if leaf == "running_var" or (leaf == "weight" and len(shape) == 1):
        values = generator.uniform(0.5, 1.5, size=shape)
    elif leaf != "running_mean" and len(shape) >= 2:
        values = generator.standard_normal(shape) * (
            gain / np.sqrt(max(int(np.prod(shape[1:])), 1))
        )
    else:
        values = generator.standard_normal(shape) * 0.1
    return np.asarray(values, dtype=dtype).reshape(shape)


def _spectral_vectors(state: State, prefix: str) -> None:
    """Power iteration in float64; transposed convolutions normalise their second axis."""
    weight = state[f"{prefix}weight_orig"].astype(np.float64)
    left = state[f"{prefix}weight_u"]
    if weight.shape[0] != left.shape[0]:
        weight = np.moveaxis(weight, 1, 0)
    matrix = weight.reshape(left.shape[0], -1)
    u = left.astype(np.float64) / np.linalg.norm(left.astype(np.float64))
    v = matrix.T @ u
    for _ in range(POWER_ITERATIONS):
        v = matrix.T @ u
        v /= np.linalg.norm(v)
        u = matrix @ v
        u /= np.linalg.norm(u)
    state[f"{prefix}weight_u"] = u.astype(left.dtype)
    if f"{prefix}weight_v" in state:
        state[f"{prefix}weight_v"] = v.astype(state[f"{prefix}weight_v"].dtype)
