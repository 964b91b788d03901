"""Recordings for the audio tests: tones, speech-like syllables, WAV, Opus and Ogg bytes."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
from numpy.typing import NDArray

from orchestrator.core.types import AudioChunk, AudioFormat

Signal = NDArray[np.float64]


def tone(rate: int, seconds: float, hz: float = 440.0, amplitude: float = 0.5) -> Signal:
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)


def syllables(rate: int, seconds: float, level_db: float, seed: int = 0) -> Signal:
    """Voiced pulses through two formants, four syllables a second with closures between, at an RMS
    level below full scale.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(round(rate * seconds)) / rate
    pitch = 110 + 20 * np.sin(2 * np.pi * 0.7 * t)
    source = sum(np.cos(2 * np.pi * k * np.cumsum(pitch) / rate) / k for k in range(1, 25))
    envelope = np.clip(np.sin(2 * np.pi * 2 * t + rng.uniform(0, 6)), 0, None) ** 2
    voice = source * envelope * (1 + 0.3 * rng.standard_normal(len(t)))
    return voice / np.sqrt(np.mean(voice**2)) * 10 ** (level_db / 20)


def pcm16(signal: Signal) -> bytes:
    return (np.clip(np.round(np.asarray(signal) * 32768), -32768, 32767)).astype("<i2").tobytes()


def chunk(
    data: bytes, rate: int = 16_000, channels: int = 1, kind: AudioFormat = AudioFormat.PCM
) -> AudioChunk:
    return AudioChunk(
        data=data,
        timestamp_ms=0.0,
        sequence_number=0,
        sample_rate_hz=rate,
        channels=channels,
        format=kind,
    )


def wav_header(
    rate: int, channels: int, bits: int, data_size: int, *, tag: int = 1, extensible: bool = False
) -> bytes:
    block = channels * bits // 8
    fmt = struct.pack(
        "<HHIIHH", 0xFFFE if extensible else tag, channels, rate, rate * block, block, bits
    )
    if extensible:
        fmt += struct.pack("<HHIH", 22, bits, 0, tag) + bytes.fromhex(
            "000000001000800000aa00389b71"
        )
    riff_size = min(0xFFFFFFFF, 4 + 8 + len(fmt) + 8 + data_size)
    return (
        b"RIFF"
        + struct.pack("<I", riff_size)
        + b"WAVEfmt "
        + struct.pack("<I", len(fmt))
        + fmt
        + b"data"
        + struct.pack("<I", data_size)
    )


def encoded_samples(signal: Signal, coding: str) -> tuple[bytes, int, int]:
    """Sample bytes in a coding, with its bits and WAV format tag."""
    if coding == "u8":
        return (np.round(signal * 128 + 128)).astype(np.uint8).tobytes(), 8, 1
    if coding == "s16":
        return pcm16(signal), 16, 1
    if coding == "s24":
        wide = np.round(signal * 2**23).astype("<i4")
        return wide.view(np.uint8).reshape(-1, 4)[:, :3].tobytes(), 24, 1
    if coding == "s32":
        return np.round(signal * (2**31 - 1)).astype("<i4").tobytes(), 32, 1
    return (
        (signal.astype("<f4").tobytes(), 32, 3)
        if coding == "f32"
        else (signal.astype("<f8").tobytes(), 64, 3)
    )


def opus_packets(signal: Signal) -> list[bytes]:
    """20 ms packets of a 48 kHz mono signal."""
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = (
        48_000,
        "mono",
        "s16",
        64_000,
    )
    packets = []
    for start in range(0, len(signal) - 959, 960):
        packets += encoder.encode(_frame(signal[start : start + 960], 48_000, start))
    return [bytes(packet) for packet in packets + encoder.encode(None)]


def container_bytes(
    signal: Signal, rate: int, container: str, codec: str, sample_format: str = "s16"
) -> bytes:
    """A whole file of one codec, as a recorder would write it."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono", format=sample_format)
        for start in range(0, len(signal), 960):
            for packet in stream.encode(_frame(signal[start : start + 960], rate, start)):
                output.mux(packet)
        for packet in stream.encode(None):
            output.mux(packet)
    return file.getvalue()


def _frame(signal: Signal, rate: int, pts: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(
        np.frombuffer(pcm16(signal), "<i2")[None], format="s16", layout="mono"
    )
    frame.sample_rate, frame.pts = rate, pts
    return frame


def ogg_pages(data: bytes) -> list[bytes]:
    """An Ogg file's pages, cut where their own headers say."""
    pages, offset = [], 0
    while offset < len(data):
        segments = data[offset + 26]
        size = 27 + segments + sum(data[offset + 27 : offset + 27 + segments])
        pages.append(data[offset : offset + size])
        offset += size
    return pages


def delay_samples(heard: NDArray[np.floating], reference: Signal) -> float:
    """How many samples `heard` lags `reference`, by the phase of their cross spectrum where both
    have power.
    """
    n = min(len(heard), len(reference))
    window = np.hanning(n)
    cross = np.fft.rfft(heard[:n] * window) * np.conj(np.fft.rfft(reference[:n] * window))
    lag = int(np.argmax(np.abs(np.fft.irfft(cross, n))))
    lag = lag - n if lag > n // 2 else lag
    bins = np.abs(cross) > 0.01 * np.abs(cross).max()
    omega = 2 * np.pi * np.arange(len(cross)) / n
    residual = np.angle(cross * np.exp(1j * omega * lag))
    weight = np.abs(cross) * bins
    return lag - float(np.sum(weight * omega * residual) / np.sum(weight * omega**2))
