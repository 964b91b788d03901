"""Speech of flite, the engine that the committed network is never trained on."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import scipy.io.wavfile

from export.audio2motion.phones import ARPABET, to_ipa
from export.audio2motion.speech import Phone, Utterance, contiguous
from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ

PACKAGES: Final = ("flite",)
DEVELOPMENT_VOICES: Final = ("slt", "kal16")
"""Voices judged on while choices were made."""
ACCEPTANCE_VOICES: Final = ("awb", "rms")
"""Voices judged on once, when every choice was final."""


def missing() -> list[str]:
    """List the Debian packages to install before `say` can work."""
    return [] if shutil.which("flite") else list(PACKAGES)


def say(voice: str, text: str) -> Utterance:
    """Synthesise the text; flite prints `phone:end` with its `-psdur`."""
    with tempfile.TemporaryDirectory() as folder:
        wave = Path(folder, "speech.wav")
        command = ["flite", "-voice", voice, "-psdur", "-t", f" {text} ", "-o", str(wave)]
        printed = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=60
        ).stdout
        rate_hz, pcm = scipy.io.wavfile.read(wave)
    if rate_hz != SAMPLE_RATE_HZ:
        raise ValueError(f"flite voice {voice!r} speaks at {rate_hz} Hz; 16000 Hz is needed")
    phones, start_s = [], 0.0
    for item in printed.split():
        symbol, _, end = item.rpartition(":")
        phones.append(Phone(to_ipa(symbol, ARPABET), start_s, float(end)))
        start_s = float(end)
    samples = pcm.astype(np.float32) / 32768.0
    return Utterance(
        samples, contiguous(phones, len(samples) / SAMPLE_RATE_HZ), "flite", voice, "en"
    )
