"""Speech of espeak-ng through its library, which reports when every phone starts."""

# ruff: noqa: RUF001 - IPA letters that look like others are intended
from __future__ import annotations

import ctypes
from ctypes.util import find_library
from functools import lru_cache
from typing import Final

import numpy as np
import soxr

from export.audio2motion.speech import PAUSE, Phone, Utterance, contiguous
from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ

PACKAGES: Final = ("espeak-ng", "libespeak-ng1", "espeak-ng-data")
RESERVED_VARIANTS: Final = frozenset({"anika", "anikaRobot"})
"""Voices reserved for the final acceptance; never synthesised here."""
_VARIANT_NAMES: Final = (
    "Alex Alicia Andrea Andy Annie AnxiousAndy Denis Diogo Gene Gene2 Henrique Hugo Jacky Lee "
    "Marco Mario Michael Mike Mr serious Nguyen RicishayMax RicishayMax2 RicishayMax3 Storm "
    "Tweaky adam announcer antonio aunty belinda benjamin boris caleb david ed edward edward2 f1 "
    "f2 f3 f4 f5 grandma grandpa gustave iven iven2 iven3 iven4 john kaukovalta klatt klatt2 "
    "klatt3 klatt4 klatt5 klatt6 linda m1 m2 m3 m4 m5 m6 m7 m8 marcelo max michel miguel norbert "
    "pablo paul pedro quincy rob robert sandro shelby steph steph2 steph3 travis victor whisper "
    "whisperf zac"
)
VARIANTS: Final = tuple(_VARIANT_NAMES.split())
"""Voice variants that sound like a person; the robots and croaks are left out."""

_CLOSURE_S: Final = 0.042
"""Lead of the silent closure of /p t k/ before the burst, which espeak reports.

At 160 words per minute.
"""
_SHORT_CLOSURE_S: Final = 0.02
"""The same after a fricative, at every speed."""
_USUAL_WPM: Final = 160
_EARLY_VOWEL_S: Final = (
    dict.fromkeys("pbmkgɡcɟqɢtʈ", 0.022)
    | dict.fromkeys("nŋɲlɫʎ", 0.016)
    | dict.fromkeys("dɖ", 0.01)
)
"""Delay of espeak's vowel times after these consonants against the audible onset.

Median over voices and six languages.
"""
_UNVOICED_STOPS: Final = frozenset("ptkcqʈ")
_FRICATIVES: Final = frozenset("szfʃθxçɕʂh")

_SYNCHRONOUS, _PHONEME_EVENTS, _IPA = 2, 1, 2
_EVENT_END, _EVENT_PHONEME = 0, 7
_RATE, _PITCH, _RANGE = 1, 3, 4
_UTF8 = 1


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Espeak:
    """One loaded libespeak-ng; not for several threads."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 200, None, _PHONEME_EVENTS | _IPA)
        self._blocks: list[np.ndarray] = []  # type: ignore[type-arg]
        self._starts: list[tuple[int, str]] = []
        self._callback = _Callback(self._take)
        library.espeak_SetSynthCallback(self._callback)

    def say(
        self, text: str, language: str, variant: str, *, rate_wpm: int, pitch: int, pitch_range: int
    ) -> Utterance | None:
        """Synthesise the text; None where espeak has no such voice or returns nothing."""
        voice = f"{language}+{variant}"
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            return None
        for parameter, value in ((_RATE, rate_wpm), (_PITCH, pitch), (_RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        self._blocks, self._starts = [], []
        data = text.encode()
        self._library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, _UTF8, None, None)
        return self._utterance(voice, language, rate_wpm)

    def _take(self, wave: object, count: int, events: object) -> int:
        if count > 0 and wave:
            self._blocks.append(np.ctypeslib.as_array(wave, (count,)).copy())  # type: ignore[arg-type]
        index = 0
        while events[index].type != _EVENT_END:  # type: ignore[index]
            event = events[index]  # type: ignore[index]
            if event.type == _EVENT_PHONEME:
                self._starts.append((event.sample, event.id.string.decode("utf-8", "ignore")))
            index += 1
        return 0

    def _utterance(self, voice: str, language: str, rate_wpm: int) -> Utterance | None:
        # "(en)": a change of language
        self._starts = [(sample, symbol) for sample, symbol in self._starts if "(" not in symbol]
        if not self._blocks or len(self._starts) < 3:
            return None
        wave = np.concatenate(self._blocks).astype(np.float32) / 32768.0
        ends = [sample for sample, _ in self._starts[1:]] + [len(wave)]
        phones = [
            Phone(
                _spelled(symbol.strip("ˈˌ"), language), start / self._rate_hz, end / self._rate_hz
            )
            for (start, symbol), end in zip(self._starts, ends, strict=True)
        ]
        samples = soxr.resample(wave, self._rate_hz, SAMPLE_RATE_HZ).astype(np.float32)
        return Utterance(
            samples,
            contiguous(corrected_times(phones, rate_wpm), len(samples) / SAMPLE_RATE_HZ),
            "espeak",
            voice,
            language,
        )


def missing() -> list[str]:
    """List the Debian packages to install before `load` can work."""
    return [] if find_library("espeak-ng") else list(PACKAGES)


def _spelled(symbol: str, language: str) -> str:
    """The American vowel of "nurse" with its r, which espeak leaves out."""
    return "ɝ" if symbol == "ɜː" and language == "en-us" else symbol or PAUSE


def corrected_times(phones: list[Phone], rate_wpm: int) -> list[Phone]:
    """The phones with their boundaries corrected to the audible ones, as in the other engines.

    A stop takes at most half of the phone before it, a vowel a third.
    """
    starts_s = [phone.start_s for phone in phones]
    for index in range(1, len(phones)):
        before, phone = phones[index - 1], phones[index]
        if phone.symbol[0] in _UNVOICED_STOPS:
            early_s = (
                _SHORT_CLOSURE_S
                if before.symbol[0] in _FRICATIVES
                else _CLOSURE_S * _USUAL_WPM / rate_wpm
            )
            starts_s[index] -= min(early_s, (before.end_s - before.start_s) / 2)
        elif phone.symbol != PAUSE and phone.symbol[0] not in _EARLY_VOWEL_S:
            starts_s[index] -= min(
                _EARLY_VOWEL_S.get(before.symbol[0], 0.0), (before.end_s - before.start_s) / 3
            )
    ends_s = [*starts_s[1:], phones[-1].end_s]
    return [
        Phone(p.symbol, start_s, end_s)
        for p, start_s, end_s in zip(phones, starts_s, ends_s, strict=True)
    ]


@lru_cache(maxsize=1)
def load() -> Espeak:
    """Load the library, once per process."""
    name = find_library("espeak-ng")
    if name is None:
        raise FileNotFoundError(f"espeak-ng is not installed: apt-get install {' '.join(PACKAGES)}")
    return Espeak(ctypes.CDLL(name))
