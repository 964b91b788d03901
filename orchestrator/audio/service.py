"""The specification's audio service: features and quality of chunks, without a stream.

Live sessions use `AudioStream`, which joins chunks without seams and computes only the rows that a
model uses.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np
import soxr

from orchestrator.audio.codecs.decoder import AudioDecoder
from orchestrator.audio.codecs.pcm import MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ
from orchestrator.audio.features.features import AudioFeatures, audio_features
from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ, MelSpec
from orchestrator.audio.features.visemes import Phoneme, PhonemeDetector
from orchestrator.audio.quality import AudioQuality, assess_quality
from orchestrator.audio.resampler import make_resampler
from orchestrator.core.cache import LruCache
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode, invalid_field
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.core.types import AudioChunk, Samples

FEATURE_CACHE_BYTES: Final = 32 * 1024 * 1024
FEATURE_CACHE_ITEMS: Final = 4096


class AudioFeatureService:
    """Features and quality of single chunks.

    Raises `LipSyncError` that names the wire field for a chunk that cannot be decoded.
    """

    def __init__(
        self,
        spec: MelSpec | None = None,
        *,
        cache_ttl_s: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
        model_repository: Path = MODEL_REPOSITORY,
    ) -> None:
        """Configure the service; `model_repository` holds the viseme network."""
        self._spec = spec or MelSpec()
        self._clock = clock
        self._detector = PhonemeDetector(model_repository)
        self._features: LruCache[bytes, AudioFeatures] = LruCache(
            max_items=FEATURE_CACHE_ITEMS,
            max_bytes=FEATURE_CACHE_BYTES,
            size_of=lambda features: features.nbytes,
            ttl_s=cache_ttl_s,
        )

    def preprocess_for_lip_sync(
        self, chunk: AudioChunk, target_rate: int = SAMPLE_RATE_HZ
    ) -> Samples:
        """The chunk as mono samples at 16 kHz, or at another rate from 8 to 48 kHz.

        The models here take 16 kHz.
        """
        if not MIN_SAMPLE_RATE_HZ <= target_rate <= MAX_SAMPLE_RATE_HZ:
            raise invalid_field(
                "targetRate",
                f"is {target_rate}; use {MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ} Hz",
            )
        if target_rate == SAMPLE_RATE_HZ:
            return self._joined([chunk])
        decoder = AudioDecoder()
        samples = decoder.decode(chunk)
        resampled: Samples = soxr.resample(
            samples, decoder.sample_rate_hz or target_rate, target_rate
        )
        return resampled

    def extract_features(self, chunk: AudioChunk) -> AudioFeatures:
        """Features of one chunk on its own, with silence around it.

        Cached by content for a while.
        """
        return self.extract_streaming_features([chunk])

    def extract_streaming_features(self, chunks: Sequence[AudioChunk]) -> AudioFeatures:
        """Features of chunks of one stream, joined without seams, in the order given.

        ValueError for none.
        """
        if not chunks:
            raise ValueError("no chunks; features need at least one")
        key, now = _content_key(chunks), self._clock()
        known = self._features.get(key, now=now)
        if known is None:
            known = audio_features(self._joined(chunks), chunks[0].timestamp_ms, self._spec)
            self._features.put(key, known, now=now)
        return known

    def assess_audio_quality(self, chunk: AudioChunk) -> AudioQuality:
        """Noise, level, clipping and silence of a chunk."""
        return assess_quality(self.preprocess_for_lip_sync(chunk))

    def detect_phonemes(self, features: AudioFeatures) -> list[Phoneme]:
        """Sounds with start, end and confidence, by the service's own network.

        MODEL_LOAD_FAILED where its file is missing.
        """
        try:
            return self._detector.detect(
                features.mel_spectrogram, float(np.log(self._spec.log_floor))
            )
        except FileNotFoundError as error:
            raise LipSyncError(
                LipSyncErrorCode.MODEL_LOAD_FAILED, str(error), recoverable=False
            ) from None

    def _joined(self, chunks: Sequence[AudioChunk]) -> Samples:
        decoder = AudioDecoder()
        samples = np.concatenate([decoder.decode(chunk) for chunk in chunks])
        resampler = make_resampler(decoder.sample_rate_hz or SAMPLE_RATE_HZ)
        return np.concatenate((resampler.push(samples), resampler.flush()))


def _content_key(chunks: Sequence[AudioChunk]) -> bytes:
    """Cache key of chunks; it includes the time, since features hold it."""
    digest = blake2b(digest_size=16)
    for chunk in chunks:
        digest.update(
            repr(
                (
                    chunk.timestamp_ms,
                    chunk.sample_rate_hz,
                    chunk.channels,
                    chunk.format.value,
                    len(chunk.data),
                )
            ).encode()
        )
        digest.update(chunk.data)
    return digest.digest()
