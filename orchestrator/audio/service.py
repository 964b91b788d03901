"""Audio features of single chunks, for callers that hold no stream: benchmarks, quality checks, other programs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from orchestrator.audio.decode import AudioDecoder
from orchestrator.audio.mel import SAMPLE_RATE_HZ, MelSpec, log_mel
from orchestrator.audio.resample import make_resampler
from orchestrator.types import AudioChunk, Samples


@dataclass(frozen=True, slots=True, eq=False)
class AudioFeatures:
    """What one chunk sounds like."""

    mel: NDArray[np.float32]
    """Log-mel `[frames, n_mels]`, 10 ms apart."""
    duration_ms: float
    rms_energy: float
    """Root mean square, full scale 1.0."""


class AudioFeatureService:
    """The specification's audio service; live sessions use `AudioStream`, which joins chunks without seams."""

    def __init__(self, spec: MelSpec | None = None) -> None:
        self._spec = spec or MelSpec()

    def preprocess_for_lip_sync(self, chunk: AudioChunk, target_rate: int = SAMPLE_RATE_HZ) -> Samples:
        """The chunk as mono samples at 16 kHz, the one rate models are fed with.

        Raises `LipSyncError` for a chunk that cannot be decoded and `ValueError` for another target rate.
        """
        if target_rate != SAMPLE_RATE_HZ:
            raise ValueError(f"models are fed with {SAMPLE_RATE_HZ} Hz, not {target_rate}")
        decoder = AudioDecoder()
        samples = decoder.decode(chunk)
        resampler = make_resampler(decoder.sample_rate_hz or SAMPLE_RATE_HZ)
        return np.concatenate((resampler.push(samples), resampler.flush()))

    def extract_features(self, chunk: AudioChunk) -> AudioFeatures:
        """Log-mel, duration and energy of one chunk taken by itself, silence around it."""
        samples = self.preprocess_for_lip_sync(chunk)
        rms = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
        return AudioFeatures(log_mel(samples, self._spec), 1000.0 * len(samples) / SAMPLE_RATE_HZ, rms)
