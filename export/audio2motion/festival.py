"""Speech of the festival voices: recorded diphones and HTS in six languages.

Many sentences are synthesised per process.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import scipy.io.wavfile
import soxr

from export.audio2motion.phones import ARPABET, CATALAN, CZECH, FINNISH, ITALIAN, to_ipa
from export.audio2motion.speech import Phone, Utterance, contiguous
from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class Voice:
    """A festival voice: its selecting call, its language and phone set, and its Debian package."""

    name: str
    language: str
    encoding: str
    alphabet: dict[str, str]
    package: str
    delay_s: float = 0.0
    """Delay of the audio after the voice's labels, measured on its stops."""


VOICES: Final = (
    Voice("kal_diphone", "en", "ascii", ARPABET, "festvox-kallpc16k", delay_s=0.006),
    Voice("ked_diphone", "en", "ascii", ARPABET, "festvox-kdlpc16k"),
    Voice("cmu_us_slt_arctic_hts", "en", "ascii", ARPABET, "festvox-us-slt-hts"),
    Voice("czech_ph", "cs", "iso-8859-2", CZECH, "festvox-czech-ph"),
    Voice("czech_dita", "cs", "iso-8859-2", CZECH, "festvox-czech-dita"),
    Voice("czech_machac", "cs", "iso-8859-2", CZECH, "festvox-czech-machac"),
    Voice("czech_krb", "cs", "iso-8859-2", CZECH, "festvox-czech-krb"),
    Voice("suo_fi_lj_diphone", "fi", "iso-8859-1", FINNISH, "festvox-suopuhe-lj", delay_s=0.004),
    Voice("hy_fi_mv_diphone", "fi", "iso-8859-1", FINNISH, "festvox-suopuhe-mv"),
    Voice("lp_diphone", "it", "iso-8859-1", ITALIAN, "festvox-italp16k"),
    Voice("pc_diphone", "it", "iso-8859-1", ITALIAN, "festvox-itapc16k"),
    Voice("upc_ca_ona_hts", "ca", "iso-8859-1", CATALAN, "festvox-ca-ona-hts"),
)
_VOICE_FOLDER: Final = Path("/usr/share/festival/voices")
_TIMEOUT_S: Final = 300


def any_voice(rng: np.random.Generator) -> Voice:
    """A random voice; the three English ones together are drawn more often than all others.

    No other voice speaks as carelessly as they do.
    """
    english = [voice for voice in VOICES if voice.language == "en"]
    others = [voice for voice in VOICES if voice.language != "en"]
    some = english if rng.random() < 0.7 else others
    return some[rng.integers(len(some))]


def missing() -> list[str]:
    """List the Debian packages to install before `say` can work."""
    packages = (
        []
        if shutil.which("festival")
        else ["festival", "festlex-cmu", "festlex-poslex", "festlex-ifd"]
    )
    installed = {path.name for path in _VOICE_FOLDER.glob("*/*")}
    return packages + [voice.package for voice in VOICES if voice.name not in installed]


def say(voice: Voice, texts: list[str]) -> list[Utterance]:
    """Synthesise the texts with one voice; texts that festival cannot synthesise are left out."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "batch.scm")
        script.write_bytes(_script(voice, texts, folder).encode(voice.encoding, "ignore"))
        subprocess.run(
            ["festival", "-b", str(script)], capture_output=True, timeout=_TIMEOUT_S, check=False
        )
        spoken = [_read(voice, Path(folder), index) for index in range(len(texts))]
    return [utterance for utterance in spoken if utterance is not None]


def _script(voice: Voice, texts: list[str], folder: str) -> str:
    lines = [f"(voice_{voice.name})"]
    for index, text in enumerate(texts):
        plain = text.replace("\\", " ").replace('"', " ")
        lines.append(
            f'(unwind-protect (begin (set! u (utt.synth (Utterance Text "{plain}")))'
            f' (utt.save.wave u "{folder}/{index}.wav" (quote riff))'
            f' (utt.save.segs u "{folder}/{index}.seg")) nil)'
        )
    return "\n".join(lines)


def _read(voice: Voice, folder: Path, index: int) -> Utterance | None:
    wave, labels = folder / f"{index}.wav", folder / f"{index}.seg"
    if not labels.exists() or not wave.exists():
        return None
    rate_hz, pcm = scipy.io.wavfile.read(wave)
    samples = soxr.resample(pcm.astype(np.float32) / 32768.0, rate_hz, SAMPLE_RATE_HZ).astype(
        np.float32
    )
    phones, start_s = [], 0.0
    for line in labels.read_text("latin-1").splitlines():
        fields = line.split()
        if len(fields) >= 3 and fields[0][0].isdigit():
            end_s = float(fields[0]) + voice.delay_s
            phones.append(Phone(to_ipa(fields[2], voice.alphabet), start_s, end_s))
            start_s = end_s
    if len(phones) < 3 or len(samples) < SAMPLE_RATE_HZ // 4:
        return None
    return Utterance(
        samples,
        contiguous(phones, len(samples) / SAMPLE_RATE_HZ),
        "festival",
        voice.name,
        voice.language,
    )
