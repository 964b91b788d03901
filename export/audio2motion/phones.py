"""Lip shapes of each phone: IPA and the engines' own phone sets in the fifteen visemes."""

# ruff: noqa: RUF001 - IPA letters that look like others are intended
from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from export.audio2motion.speech import PAUSE

_IPA: Final = {
    "sil": "_",
    "PP": "pbmɓʙɸβ",
    "FF": "fvʋⱱɱ",
    "TH": "θð",
    "DD": "tdʈɖɗ",
    "kk": "cɟkɡgqɢxɣχʁŋɴçʝɠʄhħʕʔɦɰɧ",
    "CH": "ʃʒɕʑʂʐ",
    "SS": "szɬɮ",
    "nn": "nɲɳlɭʎɫrɾɽʟ",
    "RR": "ɹɻʀ",
    "aa": "aɑæɶ",
    "E": "eɛəɤɘɜ",
    "ih": "iɪɨjɯᵻʲ",
    "oh": "oɔɒøœɵɞ",
    "ou": "uʊʉywɥʍʏ",
}
VISEME_OF_IPA: Final = {
    symbol: viseme for viseme, symbols in _IPA.items() for symbol in symbols if symbol != "ʲ"
}

_VOWELS_BETWEEN_VISEMES: Final = {"ɝ": "ɜɹ", "ɚ": "əɹ", "ʌ": "aɛ", "ɐ": "aɛ"}
"""Vowels whose lips lie between two visemes: both in sequence, which the blend merges."""
_DOMINANCE: Final = {"PP": 2.0, "FF": 2.0, "sil": 1.5, "CH": 1.2, "SS": 1.2}
"""Pull of a viseme on its neighbours; 1 where not named."""
_WEAK_DOMINANCE: Final = dict.fromkeys("hħʕʔɦ", 0.12) | dict.fromkeys("əᵻkɡgxŋɰʁχɣ", 0.7)
"""Phones made without the lips, which take the shape of their neighbours."""
_STOPS: Final = "tdʈɖcɟ"
_FRICATIVES: Final = "szʃʒɕʑʂʐç"

ARPABET: Final = {
    "aa": "ɑ", "ae": "æ", "ah": "ʌ", "ao": "ɔ", "aw": "aʊ", "ax": "ə", "axr": "ɚ", "ay": "aɪ",
    "b": "b", "ch": "tʃ", "d": "d",
    "dh": "ð", "dx": "ɾ", "eh": "ɛ", "el": "əl", "em": "m", "en": "ən", "er": "ɝ", "ey": "eɪ",
    "f": "f", "g": "ɡ", "hh": "h",
    "hv": "h", "ih": "ɪ", "iy": "i", "jh": "dʒ", "k": "k", "l": "l", "m": "m", "n": "n",
    "nx": "n", "ng": "ŋ", "ow": "oʊ",
    "oy": "ɔɪ", "p": "p", "r": "ɹ", "s": "s", "sh": "ʃ", "t": "t", "th": "θ", "uh": "ʊ",
    "uw": "u", "v": "v", "w": "w",
    "y": "j", "z": "z", "zh": "ʒ", "pau": PAUSE, "h#": PAUSE, "brth": PAUSE,
}  # fmt: skip
"""The phone set of the American festival and flite voices."""
CZECH: Final = {
    "#": PAUSE, "_": PAUSE, "c": "ts", "c~": "tʃ", "ch": "x", "d~": "ɟ", "dz": "dz", "dz~": "dʒ",
    "h": "ɦ", "n*": "ŋ", "n~": "ɲ",
    "r~": "ʒ", "r~*": "ʃ", "s~": "ʃ", "t~": "c", "z~": "ʒ", "e": "ɛ", "e:": "ɛː", "o": "o",
    "o:": "oː",
}  # fmt: skip
FINNISH: Final = {
    "##": PAUSE, "#": PAUSE, "@": "æ", "@:": "æ", "7": "ø", "7:": "ø", "&": "ə", "T": "θ",
    "D": "ð", "S": "ʃ", "Z": "ʒ",
    "N": "ŋ", "L": "l", "v": "v", "S:": "ʃ", "Z:": "ʒ", "N:": "ŋ", "L:": "l", "T:": "θ", "D:": "ð",
}  # fmt: skip
ITALIAN: Final = {
    "#": PAUSE, "E": "ɛ", "E1": "ɛ", "O": "ɔ", "O1": "ɔ", "S": "ʃ", "Z": "ʒ", "tS": "tʃ",
    "dZ": "dʒ", "J": "ɲ", "ng": "ŋ",
    "nf": "ɱ", "L": "ʎ",
}  # fmt: skip
CATALAN: Final = {
    "#": PAUSE, "_": PAUSE, "pau": PAUSE, "ax": "ə", "E": "ɛ", "E1": "ɛ", "J": "ɲ", "L": "ʎ",
    "O": "ɔ", "O1": "ɔ", "S": "ʃ", "Z": "ʒ",
    "rr": "r",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Gesture:
    """A viseme held for `share` of its phone's time, pulling with `dominance`."""

    viseme: str
    share: float
    dominance: float


def to_ipa(symbol: str, alphabet: dict[str, str]) -> str:
    """A phone of a festival voice in IPA.

    Plain letters (with stress or length marks) stand for themselves.
    """
    return alphabet.get(symbol) or symbol.rstrip("1:")


@lru_cache(maxsize=4096)
def gestures(symbol: str) -> tuple[Gesture, ...]:
    """The lip gestures of one IPA phone in order of time.

    Marks without a shape of their own are skipped. Diphthongs and affricates share their time. An
    unknown symbol is an open-ish neutral vowel of little weight.
    """
    spelled = "".join(_VOWELS_BETWEEN_VISEMES.get(letter, letter) for letter in symbol)
    known = [letter for letter in spelled if letter in VISEME_OF_IPA]
    if not known:
        return (
            (Gesture("sil", 1.0, 1.5),) if not symbol.strip(" _:ː") else (Gesture("E", 1.0, 0.3),)
        )
    if len(known) >= 2 and known[0] in _STOPS and known[1] in _FRICATIVES:
        known = known[1:]
    shares = (0.6, 0.4) if len(known) == 2 else (1.0 / len(known),) * len(known)
    return tuple(
        Gesture(VISEME_OF_IPA[letter], share, _dominance(letter))
        for letter, share in zip(known, shares, strict=True)
    )


def _dominance(letter: str) -> float:
    return _WEAK_DOMINANCE.get(letter, _DOMINANCE.get(VISEME_OF_IPA[letter], 1.0))
