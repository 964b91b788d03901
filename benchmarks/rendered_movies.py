"""Movies of `lipsync render`, with the delay between their own picture and sound."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.audio.files import read_audio
from orchestrator.core.spectra import fast_length
from orchestrator.core.types import RgbImage, Samples

_TIMEOUT_S: Final = 600.0


@dataclass(frozen=True, slots=True, eq=False)
class RenderedMovie:
    """A decoded MP4."""

    frames: list[RgbImage]
    picture_late_s: float
    """Mean delay of frame k relative to `k / fps` after the start of the sound."""


def rendered(samples: Samples, face: str, fps: float, size: int) -> RenderedMovie:
    """Render 16 kHz `samples` with the command's `--face`; CalledProcessError on failure."""
    with tempfile.TemporaryDirectory() as folder:
        sound, movie = Path(folder, "sound.wav"), Path(folder, "movie.mp4")
        _write_wav(sound, samples)
        command = [sys.executable, "-m", "orchestrator", "render", str(sound), "-o", str(movie)]
        command += ["--face", face, "--fps", f"{fps:g}", "--size", str(size)]
        subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
        frames, times_s = _pictures(movie)
        late_s = float(np.mean(times_s - np.arange(len(times_s)) / fps)) - _sound_lag_s(
            read_audio(movie), samples
        )
        return RenderedMovie(frames, late_s)


def _write_wav(path: Path, samples: Samples) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())


def _pictures(movie: Path) -> tuple[list[RgbImage], NDArray[np.float64]]:
    with av.open(str(movie)) as container:
        decoded = [
            (frame.to_ndarray(format="rgb24"), frame.time or 0.0)
            for frame in container.decode(video=0)
        ]
    return [np.ascontiguousarray(image) for image, _ in decoded], np.array(
        [time_s for _, time_s in decoded]
    )


def _sound_lag_s(heard: Samples, sent: Samples) -> float:
    """Delay of the movie's sound by the peak of the cross-correlation, to a sample (0.06 ms)."""
    size = fast_length(len(heard) + len(sent))
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(sent, size))
    lag = int(np.argmax(np.fft.irfft(spectrum, size)))
    return (lag if lag < size // 2 else lag - size) / SAMPLE_RATE_HZ
