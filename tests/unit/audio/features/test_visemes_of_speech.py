"""The committed viseme network hears the page's own sample."""

from __future__ import annotations

from itertools import pairwise

import av
import numpy as np

from orchestrator.audio.service import AudioFeatureService
from orchestrator.core.paths import SAMPLES
from orchestrator.core.types import AudioChunk, AudioFormat

SAMPLE = SAMPLES / "hello.wav"


def test_speech_has_phonemes_and_silence_and_noise_have_none() -> None:
    with av.open(str(SAMPLE)) as container:
        resampler = av.AudioResampler("s16", "mono", 16_000)
        pieces = [
            piece.to_ndarray()[0]
            for frame in container.decode(audio=0)
            for piece in resampler.resample(frame)
        ]
    service = AudioFeatureService()
    speech = np.concatenate(pieces)[: 2 * 16_000]
    found = service.detect_phonemes(service.extract_features(_chunk(speech)))
    assert len(found) > 8
    assert {"PP", "aa"} & {sound.phoneme for sound in found}
    assert all(
        0.0 <= sound.start_ms < sound.end_ms <= 2_010.0 and 0.0 < sound.confidence <= 1.0
        for sound in found
    )
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(found))
    assert (
        service.detect_phonemes(service.extract_features(_chunk(np.zeros(16_000, np.int16)))) == []
    )


def _chunk(samples: np.ndarray) -> AudioChunk:
    return AudioChunk(samples.astype("<i2").tobytes(), 0.0, 0, 16_000, 1, AudioFormat.PCM)
