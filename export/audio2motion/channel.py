"""Effects of a room, a microphone and a network on speech, without a shift in time."""

from __future__ import annotations

import io
from typing import Final, cast

import av
import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, fftconvolve, firwin2, sosfilt, sosfiltfilt

from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.core.types import Samples

CODECS: Final = (
    ("libopus", "ogg", (8, 12, 16, 24)),
    ("libmp3lame", "mp3", (24, 32, 48)),
    ("aac", "adts", (20, 32, 48)),
)
"""Encoder, container and the bit rates in kbit/s to draw from."""


def through_channel(samples: Samples, noise: Samples, rng: np.random.Generator) -> Samples:
    """Apply room, noise, microphone, telephone band and codec, each with some probability.

    The level is set last.
    """
    wave = level(samples, -26.0)
    if rng.random() < 0.45:
        wave = in_room(wave, rng)
    if rng.random() < 0.35:
        wave = wave + level(noise[: len(wave)], -26.0 - float(rng.uniform(4, 30)))
    if rng.random() < 0.4:
        wave = equalised(wave, rng)
    if rng.random() < 0.2:
        wave = band_limited(wave, rng)
    if rng.random() < 0.1:
        wave = clipped(wave, rng)
    if rng.random() < 0.06:
        wave = mu_law(wave)
    if rng.random() < 0.25:
        wave = through_codec(wave, rng)
    return level(wave, float(rng.uniform(-32, -20)))


def level(samples: Samples, dbfs: float) -> Samples:
    """The samples at an RMS level in dB of full scale.

    Pauses do not count, and silence stays silence.
    """
    loud = samples[np.abs(samples) > 1e-3 * (np.abs(samples).max(initial=0.0) + 1e-12)]
    rms = float(np.sqrt(np.mean(loud.astype(np.float64) ** 2))) if len(loud) else 0.0
    return (samples * (10 ** (dbfs / 20) / rms)).astype(np.float32) if rms > 1e-7 else samples


def in_room(samples: Samples, rng: np.random.Generator) -> Samples:
    """Direct sound, a few early reflections and a decaying tail (RT60 0.1-0.7 s)."""
    rt60_s = float(rng.uniform(0.1, 0.7))
    length = int(rt60_s * SAMPLE_RATE_HZ)
    times_s = np.arange(length) / SAMPLE_RATE_HZ
    tail = rng.normal(size=length) * 10 ** (-3 * times_s / rt60_s)
    tail[: int(0.004 * SAMPLE_RATE_HZ)] = 0
    tail *= 10 ** (float(rng.uniform(-14, 0)) / 20) / np.sqrt(np.sum(tail**2))
    for _ in range(rng.integers(0, 6)):
        tail[rng.integers(16, min(length, 640))] += rng.uniform(-0.4, 0.4)
    tail[0] = 1.0
    return fftconvolve(samples, tail)[: len(samples)].astype(np.float32)


def equalised(samples: Samples, rng: np.random.Generator) -> Samples:
    """A smooth random frequency response of +-8 dB, linear phase, its delay removed."""
    frequencies = np.linspace(0, 1, 8)
    taps = firwin2(129, frequencies, 10 ** (rng.uniform(-8, 8, 8) / 20))
    return fftconvolve(samples, taps, mode="same").astype(np.float32)


def band_limited(samples: Samples, rng: np.random.Generator) -> Samples:
    """Telephone band, or a low-pass of a low sampling rate; zero phase."""
    high_hz = float(rng.choice([3400, 3800, 5500]))
    band = butter(
        4, [float(rng.uniform(60, 320)), high_hz], "bandpass", fs=SAMPLE_RATE_HZ, output="sos"
    )
    return sosfiltfilt(band, samples).astype(np.float32)


def clipped(samples: Samples, rng: np.random.Generator) -> Samples:
    limit = float(np.quantile(np.abs(samples), rng.uniform(0.95, 0.998))) + 1e-6
    return np.clip(samples, -limit, limit)


def mu_law(samples: Samples) -> Samples:
    """8-bit mu-law and back (ITU-T G.711)."""
    scaled = np.clip(samples * 3, -1, 1)
    code = np.round(np.sign(scaled) * np.log1p(255 * np.abs(scaled)) / np.log(256) * 127) / 127
    return (np.sign(code) * (256 ** np.abs(code) - 1) / 255 / 3).astype(np.float32)


def through_codec(samples: Samples, rng: np.random.Generator) -> Samples:
    """The samples encoded and decoded by a real codec at a low bit rate.

    Moved back by the codec's delay.
    """
    encoder, container, rates = CODECS[rng.integers(len(CODECS))]
    coded = decode(encode(samples, encoder, container, int(rng.choice(rates)) * 1000), container)
    return aligned(coded, samples)


def encode(samples: Samples, encoder: str, container: str, bit_rate: int) -> bytes:
    """The samples as an encoded file in memory."""
    sink = io.BytesIO()
    with av.open(sink, "w", format=container) as output:
        stream = cast(av.AudioStream, output.add_stream(encoder, rate=SAMPLE_RATE_HZ))
        stream.bit_rate = bit_rate
        stream.layout = "mono"
        resampler = av.AudioResampler(
            format=stream.format.name,
            layout="mono",
            rate=SAMPLE_RATE_HZ,
            frame_size=stream.frame_size or 960,
        )
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[None]), format="fltp", layout="mono"
        )
        frame.sample_rate = SAMPLE_RATE_HZ
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(piece))
        output.mux(stream.encode(None))
    return sink.getvalue()


def decode(data: bytes, container: str) -> Samples:
    """The file's audio at 16 kHz, mono."""
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE_HZ)
    blocks: list[NDArray[np.float32]] = []
    with av.open(
        io.BytesIO(data), "r", format="aac" if container == "adts" else container
    ) as source:
        for frame in source.decode(audio=0):
            blocks += [block.to_ndarray()[0] for block in resampler.resample(frame)]
    blocks += [block.to_ndarray()[0] for block in resampler.resample(None)]
    return np.concatenate(blocks)


def aligned(coded: Samples, original: Samples, max_shift_s: float = 0.15) -> Samples:
    """`coded` shifted to fit `original` best and cut to its length.

    By cross-correlation of the first seconds.
    """
    span = min(len(original), len(coded), 4 * SAMPLE_RATE_HZ)
    spectrum = np.fft.rfft(coded[:span], 2 * span) * np.conj(np.fft.rfft(original[:span], 2 * span))
    match = np.fft.irfft(spectrum)
    most = int(max_shift_s * SAMPLE_RATE_HZ)
    lags = np.concatenate([np.arange(most), np.arange(-most, 0)])
    lag = int(lags[np.argmax(match[lags])])
    moved = coded[lag:] if lag >= 0 else np.pad(coded, (-lag, 0))
    return np.pad(moved, (0, max(0, len(original) - len(moved))))[: len(original)].astype(
        np.float32
    )


def coloured(count: int, slope: float, rng: np.random.Generator) -> Samples:
    """Noise whose power falls with frequency ** `slope` (0 white, 1 pink, 2 brown)."""
    spectrum = np.fft.rfft(rng.normal(size=count))
    frequencies = np.maximum(np.fft.rfftfreq(count, 1 / SAMPLE_RATE_HZ), 20.0)
    wave = np.fft.irfft(spectrum * frequencies ** (-slope / 2), count)
    return (wave / (wave.std() + 1e-12)).astype(np.float32)


def low_passed(samples: Samples, hz: float) -> Samples:
    return sosfilt(butter(2, hz, fs=SAMPLE_RATE_HZ, output="sos"), samples).astype(np.float32)
