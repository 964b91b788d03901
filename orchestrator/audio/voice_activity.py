"""Detect silent spans, for which no model has to run; quiet speech must never count as silent."""

from __future__ import annotations

import math

import numpy as np

from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.audio.row_buffer import RowBuffer
from orchestrator.core.types import Samples

BLOCK_SAMPLES = 160
"""Samples per level: 10 ms."""
BLOCKS_PER_S = SAMPLE_RATE_HZ // BLOCK_SAMPLES
ALWAYS_SILENT_DB = -75.0
"""Level below which every block is silent: -64 dBFS speech keeps its vowels 10 dB above it."""
NOISE_CEILING_DB = -60.0
"""Steady noise above this is left to the network."""
NOISE_MARGIN_DB = 6.0
"""Room noise stays this close to its floor over 10 ms; the syllables of speech do not."""
FLOOR_BLOCKS = 200
"""Blocks before the span's end in which the noise floor is searched: 2 s."""
MIN_FLOOR_BLOCKS = 50
"""Least blocks for a noise floor: 0.5 s.

A turn that begins with quiet speech is thus not gated.
"""
_FLOOR_QUANTILE = 0.1


class LevelHistory:
    """Levels of 10 ms blocks in dB below full scale, without their direct current."""

    def __init__(self) -> None:
        self._pending = np.zeros(0, np.float32)
        self._levels = RowBuffer(1, first=0)

    def push(self, samples: Samples) -> None:
        """Add 16 kHz samples."""
        joined = np.concatenate((self._pending, samples))
        whole = len(joined) - len(joined) % BLOCK_SAMPLES
        if whole:
            power = joined[:whole].reshape(-1, BLOCK_SAMPLES).var(axis=1)
            self._levels.append(10.0 * np.log10(power + np.float32(1e-12))[:, None])
        self._pending = joined[whole:]

    def discard_before(self, block: int) -> None:
        """Drop blocks below `block`, except those the noise floor needs."""
        self._levels.discard_before(block - FLOOR_BLOCKS)

    def is_silent(self, start_s: float, end_s: float) -> bool:
        """True if every block in the span is silent; blocks outside of the turn count as silent.

        A block is silent below -75 dBFS, or below -60 dBFS when it stays within 6 dB of the
        quietest tenth of the last 2 s. The result depends only on audio before `end_s`, never on
        its chunks.
        """
        begin = max(self._levels.first, math.floor(start_s * BLOCKS_PER_S))
        end = min(self._levels.end, math.ceil(end_s * BLOCKS_PER_S))
        if begin >= end:
            return True
        loudest = float(self._levels.rows(begin, end).max())
        # true in most cases, and far cheaper than a quantile
        if loudest < ALWAYS_SILENT_DB or loudest >= NOISE_CEILING_DB:
            return loudest < ALWAYS_SILENT_DB
        return loudest < self._noise_floor_db(end) + NOISE_MARGIN_DB

    def _noise_floor_db(self, end: int) -> float:
        heard = self._levels.rows(max(self._levels.first, end - FLOOR_BLOCKS), end)
        if len(heard) < MIN_FLOOR_BLOCKS:
            return -np.inf
        return float(np.quantile(heard, _FLOOR_QUANTILE))
