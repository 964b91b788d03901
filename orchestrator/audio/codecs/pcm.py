"""Convert raw sample bytes of any width to mono float samples.

The only place that knows sample encodings.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.errors import invalid_field
from orchestrator.core.types import Samples

MIN_SAMPLE_RATE_HZ = 8_000
MAX_SAMPLE_RATE_HZ = 48_000
MAX_CHANNELS = 2


class SampleCoding(Enum):
    """Storage of one sample: little endian, 8-bit integers unsigned as in WAV."""

    U8 = "u8"
    S16 = "s16"
    S24 = "s24"
    S32 = "s32"
    F32 = "f32"
    F64 = "f64"


_WIDTH_BYTES = {
    SampleCoding.U8: 1,
    SampleCoding.S16: 2,
    SampleCoding.S24: 3,
    SampleCoding.S32: 4,
    SampleCoding.F32: 4,
    SampleCoding.F64: 8,
}


@dataclass(frozen=True, slots=True)
class PcmLayout:
    """Rate, channel count and coding of interleaved samples."""

    sample_rate_hz: int
    channels: int
    coding: SampleCoding = SampleCoding.S16

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of every channel."""
        return _WIDTH_BYTES[self.coding] * self.channels


def check_layout(layout: PcmLayout) -> None:
    """Check rate and channel count; raises `LipSyncError` naming the field."""
    if not MIN_SAMPLE_RATE_HZ <= layout.sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
        raise invalid_field(
            "audioChunk.sampleRate",
            f"is {layout.sample_rate_hz}; send {MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ} Hz",
        )
    if not 1 <= layout.channels <= MAX_CHANNELS:
        raise invalid_field(
            "audioChunk.channels", f"is {layout.channels}; send 1 or {MAX_CHANNELS}"
        )


def mono_samples(data: bytes, layout: PcmLayout) -> Samples:
    """Mono samples at the layout's rate, full scale 1.0, channels averaged.

    Floats out of range are clipped. Raises `LipSyncError` on `audioChunk.data` when a sample is cut
    off or is not a finite number.
    """
    if len(data) % layout.frame_bytes:
        raise invalid_field(
            "audioChunk.data",
            f"{len(data)} bytes are not whole {layout.frame_bytes}-byte sample frames "
            f"({layout.channels} x {layout.coding.value})",
        )
    samples = _decoded(data, layout.coding)
    if layout.channels == 1:
        return samples
    mixed: Samples = samples.reshape(-1, layout.channels).mean(axis=1, dtype=np.float32)
    return mixed


def _decoded(data: bytes, coding: SampleCoding) -> Samples:
    if coding is SampleCoding.S16:
        return np.frombuffer(data, "<i2").astype(np.float32) * np.float32(1 / 2**15)
    if coding is SampleCoding.U8:
        return (np.frombuffer(data, np.uint8).astype(np.float32) - 128.0) * np.float32(1 / 2**7)
    if coding is SampleCoding.S24:
        return _wide_integers(_padded_to_32_bits(data))
    if coding is SampleCoding.S32:
        return _wide_integers(np.frombuffer(data, "<i4"))
    if coding is SampleCoding.F32:
        return _checked_floats(np.frombuffer(data, "<f4"))
    return _checked_floats(np.frombuffer(data, "<f8"))


def _padded_to_32_bits(data: bytes) -> NDArray[np.int32]:
    padded = np.zeros((len(data) // 3, 4), np.uint8)
    padded[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
    return padded.reshape(-1).view("<i4")


def _wide_integers(values: NDArray[np.int32]) -> Samples:
    return (values * (1.0 / 2**31)).astype(np.float32)


def _checked_floats(values: NDArray[np.float32] | NDArray[np.float64]) -> Samples:
    if not np.isfinite(values).all():
        raise invalid_field("audioChunk.data", "holds samples that are NaN or infinite")
    clipped: Samples = np.clip(values, -1.0, 1.0).astype(np.float32)
    return clipped
