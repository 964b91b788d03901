"""Resample a stream to 16 kHz with a constant delay near 1 ms and without seams.

The output is aligned with the input.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, gcd
from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.core.types import Samples

_HALF_WIDTH_S = 1e-3
"""Half the filter's length, and so its delay.

70 dB down at 9 kHz for 48 kHz sources, 6 dB at 8 kHz.
"""
_MIN_HALF_WIDTH_SAMPLES = 16
"""Least half width, 2 ms at 8 kHz.

Low source rates need a longer filter for the same steepness relative to their own band.
"""
_KAISER_BETA = 6.0
"""Window parameter that keeps the log-mel of fricatives within 0.02 (rms) of soxr's best filters.

Most of the difference is in the topmost band.
"""
_MAX_PHASES = 640
"""Every multiple of 25 Hz has at most this many phases.

Other rates go to soxr, whose delay is longer and varies.
"""


class Resampler(Protocol):
    """Converts mono samples of one rate to 16 kHz.

    Output sample m lies at m / 16000 s of the input, without offset.
    """

    def push(self, samples: Samples) -> Samples:
        """The output samples that `samples` complete."""

    def flush(self) -> Samples:
        """The rest of the output, with silence as the future.

        In all `round(n * 16000 / rate)` samples for n pushed.
        """


def make_resampler(sample_rate_hz: int) -> Resampler:
    """The resampler for a source rate.

    None at 16 kHz, a polyphase FIR for simple ratios, soxr for others.
    """
    if sample_rate_hz == SAMPLE_RATE_HZ:
        return _Unchanged()
    if SAMPLE_RATE_HZ // gcd(sample_rate_hz, SAMPLE_RATE_HZ) <= _MAX_PHASES:
        return PolyphaseResampler(sample_rate_hz)
    return _SoxrResampler(sample_rate_hz)


def resampled_length(samples: int, sample_rate_hz: int) -> int:
    """`round(samples * 16000 / sample_rate_hz)`, halves up."""
    return (2 * samples * SAMPLE_RATE_HZ + sample_rate_hz) // (2 * sample_rate_hz)


@dataclass(frozen=True, slots=True, eq=False)
class _FilterBank:
    """Weights for a block of outputs, after which phases repeat.

    A block is cut into groups that use nearly the same input.
    """

    weights: NDArray[np.float64]
    """`[groups, inputs, outputs per group]`, each column summing to 1."""
    group_starts: NDArray[np.int64]
    """First input of each group, counted from the block's first."""
    block_inputs: int
    half_width: int
    """Inputs on either side of an output's time that the filter uses."""


class PolyphaseResampler:
    """Kaiser-windowed sinc evaluated at each output's time, many outputs per matrix product.

    The sums run in double precision: results then round to the same floats however the input was
    cut into chunks.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self._bank = _filter_bank(sample_rate_hz)
        self._block_outputs = self._bank.weights.shape[0] * self._bank.weights.shape[2]
        self._history = np.zeros(self._bank.half_width, np.float32)
        """Input from `half_width` samples before the current block's first output on."""
        self._emitted_of_block = 0
        self._received = 0
        self._emitted = 0

    def push(self, samples: Samples) -> Samples:
        """Output m is complete once the input reaches `half_width` samples past its time."""
        self._received += len(samples)
        reach = (self._received - self._bank.half_width) * self._block_outputs
        return self._advance(samples, -(-reach // self._bank.block_inputs) - self._emitted)

    def flush(self) -> Samples:
        """Output up to the input's end, with zeros after it."""
        remaining = resampled_length(self._received, self._rate) - self._emitted
        return self._advance(np.zeros(0, np.float32), remaining)

    def _advance(self, samples: Samples, count: int) -> Samples:
        self._history = np.concatenate((self._history, samples))
        if count <= 0:
            return np.zeros(0, np.float32)
        end = self._emitted_of_block + count
        outputs = self._blocks(-(-end // self._block_outputs))[self._emitted_of_block : end]
        blocks_done, self._emitted_of_block = divmod(end, self._block_outputs)
        self._history = self._history[blocks_done * self._bank.block_inputs :]
        self._emitted += count
        return outputs

    def _blocks(self, blocks: int) -> Samples:
        """The next `blocks` blocks of output.

        Samples not yet received count as zero (their outputs are not used).
        """
        rows = self._bank.weights.shape[1]
        starts = self._bank.group_starts[:, None] + np.arange(blocks) * self._bank.block_inputs
        source = np.zeros(int(starts[-1, -1]) + rows)
        available = min(len(source), len(self._history))
        source[:available] = self._history[:available]
        windows = np.lib.stride_tricks.sliding_window_view(source, rows)[starts]
        outputs: NDArray[np.float64] = windows @ self._bank.weights
        return outputs.transpose(1, 0, 2).astype(np.float32).reshape(-1)


@lru_cache(maxsize=16)
def _filter_bank(sample_rate_hz: int) -> _FilterBank:
    common = gcd(sample_rate_hz, SAMPLE_RATE_HZ)
    phases, step = SAMPLE_RATE_HZ // common, sample_rate_hz // common
    # Phases divide 16000 = 2^7 * 5^3, so from 16 on one of these divides them.
    group = (
        next(size for size in (16, 20, 25) if phases % size == 0)
        if phases >= 16
        else phases * ceil(16 / phases)
    )
    half_width = max(_MIN_HALF_WIDTH_SAMPLES, ceil(_HALF_WIDTH_S * sample_rate_hz))
    first_outputs = np.arange(0, max(phases, group), group)
    group_starts = first_outputs * step // phases
    rows = ceil(group * step / phases) + 2 * half_width + 1
    input_times = (group_starts - half_width)[:, None, None] + np.arange(rows)[None, :, None]
    output_times = (first_outputs[:, None, None] + np.arange(group)[None, None, :]) * (
        step / phases
    )
    weights = _kernel(
        input_times - output_times, half_width, min(1.0, SAMPLE_RATE_HZ / sample_rate_hz)
    )
    block_inputs = max(phases, group) * step // phases
    return _FilterBank(
        weights / weights.sum(axis=1, keepdims=True), group_starts, block_inputs, half_width
    )


def _kernel(distance: NDArray[np.float64], half_width: int, cutoff: float) -> NDArray[np.float64]:
    """Low-pass at `cutoff` of the source's Nyquist frequency.

    `distance` in source samples, zero beyond `half_width`.
    """
    inside = np.clip(1.0 - (distance / half_width) ** 2, 0.0, None)
    kernel: NDArray[np.float64] = (
        np.sinc(cutoff * distance) * np.i0(_KAISER_BETA * np.sqrt(inside)) * (inside > 0.0)
    )
    return kernel


class _SoxrResampler:
    """soxr's stream for rates without a small ratio.

    It works in blocks, so its delay varies between 6 and 37 ms.
    """

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self._stream = soxr.ResampleStream(sample_rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")
        self._received = 0
        self._emitted = 0

    def push(self, samples: Samples) -> Samples:
        self._received += len(samples)
        outputs: Samples = self._stream.resample_chunk(samples)
        self._emitted += len(outputs)
        return outputs

    def flush(self) -> Samples:
        remaining = resampled_length(self._received, self._rate) - self._emitted
        outputs = np.zeros(max(0, remaining), np.float32)
        tail = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)[: len(outputs)]
        outputs[: len(tail)] = tail
        return outputs


class _Unchanged:
    """Pass-through for 16 kHz: no delay and no copy."""

    def push(self, samples: Samples) -> Samples:
        return samples

    def flush(self) -> Samples:
        return np.zeros(0, np.float32)
