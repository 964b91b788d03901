"""Wav2Lip's mel against upstream's records, and streamed against whole."""

from __future__ import annotations

import numpy as np
import pytest
from audio_recordings import chunk, pcm16
from numpy.typing import NDArray
from project_root import ROOT

from export.reference import Reference
from orchestrator.audio.features.decibel_mel import decibel_mel
from orchestrator.audio.features.log_mel import filter_bank
from orchestrator.audio.stream import AudioStream
from orchestrator.core.types import Samples
from orchestrator.models.wav2lip.features import MEL, WINDOW_FRAMES, chunk_starts

RECORDS = ROOT / "tests" / "data" / "reference" / "wav2lip"


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(RECORDS, seed=1)


@pytest.mark.parametrize(("key", "samples"), [("mel.out", 16_000), ("mel.out_12345", 12_345)])
def test_the_mel_is_the_one_the_checkpoints_were_trained_on(
    reference: Reference, key: str, samples: int
) -> None:
    mel = decibel_mel(reference.inputs["wave"][:samples], MEL)
    assert reference.error(key, mel.T) <= reference.tolerance(key)


def test_the_filter_bank_is_upstream_s(reference: Reference) -> None:
    assert reference.error("mel.basis", filter_bank(MEL)) <= reference.tolerance("mel.basis")


SILENCE = np.zeros(1_000, np.float32)


def streamed(wave: Samples, piece: int) -> NDArray[np.float32]:
    """Rows of a turn that came in pieces and was heard all along."""
    stream = AudioStream()
    for start in range(0, len(wave), piece):
        stream.push(chunk(pcm16(wave[start : start + piece])))
        stream.window(MEL, stream.rows_ready(MEL) - 1, 1)
    stream.finish()
    rows = 1 + len(wave) // MEL.hop_length
    return stream.window(MEL, rows - 1, rows)


def whole(wave: Samples) -> NDArray[np.float32]:
    """The same rows of the whole signal at once, between silences; rounded to 16 bits as the wire
    brings it.
    """
    heard = np.frombuffer(pcm16(wave), "<i2").astype(np.float32) / 32_768
    first = len(SILENCE) // MEL.hop_length
    return decibel_mel(np.concatenate((SILENCE, heard, SILENCE)), MEL)[
        first : first + 1 + len(wave) // MEL.hop_length
    ]


@pytest.mark.parametrize("piece", [1, 37, 160, 200, 401, 1600, 20_000])
def test_any_chunking_gives_the_whole_signal_s_mel(reference: Reference, piece: int) -> None:
    wave = reference.inputs["wave"][: 16_000 if piece > 1 else 1700]
    np.testing.assert_allclose(streamed(wave, piece), whole(wave), atol=1e-6)


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 401, 402, 599, 600, 800])
def test_a_signal_of_any_length_streams_like_the_whole(reference: Reference, samples: int) -> None:
    wave = reference.inputs["wave"][1000 : 1000 + samples]
    np.testing.assert_allclose(streamed(wave, 1600), whole(wave), atol=1e-6)


def test_a_frame_waits_for_half_a_window_and_not_longer() -> None:
    stream, ready = AudioStream(), []
    for samples in (399, 1, 199, 1):
        stream.push(chunk(pcm16(np.zeros(samples, np.float32))))
        ready.append(stream.rows_ready(MEL))
    assert ready == [0, 1, 1, 2]


def test_digital_silence_is_the_lowest_value() -> None:
    assert (decibel_mel(np.zeros(4000, np.float32), MEL) == -4.0).all()


@pytest.mark.parametrize(
    ("index", "frames", "fps"),
    [(0, 331, 25.0), (1, 331, 30.0), (2, 331, 29.97), (3, 331, 24.0), (4, 90, 60.0), (5, 16, 25.0)],
)
def test_windows_start_where_upstream_s_do(
    reference: Reference, index: int, frames: int, fps: float
) -> None:
    np.testing.assert_array_equal(chunk_starts(frames, fps), reference.records[f"chunks.{index}"])


def test_too_little_audio_for_a_window_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="pad the audio to 3000 samples"):
        chunk_starts(WINDOW_FRAMES - 1, 25.0)
