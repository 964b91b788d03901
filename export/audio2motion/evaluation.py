"""Evaluation for the model card: the exported network on unseen voices, texts and noises."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import onnxruntime
import soxr

from export.audio2motion import channel, espeak, flite, music, noises, texts
from export.audio2motion.corpus import HELD_OUT_VARIANTS
from export.audio2motion.metrics import Score, score_clip, total
from export.audio2motion.serving import LOOK_AHEAD_FRAMES, mouth_of
from export.audio2motion.speech import Utterance, joined
from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.core.types import Samples
from orchestrator.rendering.motion import OPEN, aperture

_SEED: Final = 20_000
"""Seed far from every seed of training."""
_MIN_MOVED_APERTURE: Final = 0.15
_JUDGED_LANGUAGES: Final = ("ru", "fr", "es", "it", "de", "pl", "tr", "hi", "pt", "sv")
_CLIP_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Stillness:
    """Mouth on sound without speech: share of frames with aperture above 0.15, widest opening."""

    moved: float
    widest: float
    seconds: float


@dataclass(frozen=True, slots=True)
class TestSpeech:
    """A named set of utterances that training never used."""

    name: str
    utterances: tuple[Utterance, ...]


def flite_speech(voices: Sequence[str]) -> TestSpeech:
    """Every written sentence by every voice."""
    spoken = [flite.say(voice, text) for voice in voices for text in texts.written_sentences()]
    return TestSpeech(f"flite {' '.join(voices)}", tuple(map(_framed, spoken)))


def espeak_speech(languages: Sequence[str], per_language: int) -> TestSpeech:
    """Unseen espeak variants; the written sentences in English, random ones of other languages."""
    rng, variants, spoken = np.random.default_rng(_SEED), sorted(HELD_OUT_VARIANTS), []
    for language in languages:
        for index in range(per_language):
            text = (
                texts.written_sentences()[index]
                if language == "en"
                else texts.sentence(language, rng)
            )
            voice, variant = texts.LANGUAGES[language][0], variants[index % len(variants)]
            said = espeak.load().say(text, voice, variant, rate_wpm=160, pitch=50, pitch_range=50)
            spoken += [_framed(said)] if said is not None else []
    name = "English" if tuple(languages) == ("en",) else f"{len(languages)} other languages"
    return TestSpeech(f"espeak unseen variants, {name}", tuple(spoken))


def judge(
    session: onnxruntime.InferenceSession,
    speech: TestSpeech,
    spoil: Callable[[Samples, int], Samples] | None = None,
    ahead_frames: int = LOOK_AHEAD_FRAMES,
) -> Score:
    """The score of a set, each clip passed through `spoil(samples, clip number)` first."""
    scores = []
    for index, utterance in enumerate(speech.utterances):
        samples = channel.level(utterance.samples, -26.0)
        mouth = mouth_of(session, spoil(samples, index) if spoil else samples, ahead_frames)
        scores.append(score_clip(mouth, utterance.phones))
    return total(scores)


def at_10_db(samples: Samples, index: int) -> Samples:
    """The clip with noise 10 dB below it: coloured noise, hum, gusts, taps or breath in turn."""
    rng = np.random.default_rng([_SEED, index])
    noise = noises.NOISES[index % len(noises.NOISES)](len(samples), rng)
    return samples + channel.level(noise, -36.0)


def by_telephone(samples: Samples, index: int) -> Samples:
    """The clip at a low level, sampled at 8 kHz, and through Opus at 12 kbit/s."""
    narrow = soxr.resample(soxr.resample(samples, SAMPLE_RATE_HZ, 8000), 8000, SAMPLE_RATE_HZ)
    coded = channel.aligned(
        channel.decode(channel.encode(narrow, "libopus", "ogg", 12_000), "ogg"), samples
    )
    return channel.level(coded, -38.0)


def stillness(
    session: onnxruntime.InferenceSession,
    sound: Callable[[int, np.random.Generator], Samples],
    clips: int,
) -> Stillness:
    """Stillness of the mouth over clips of ten seconds of a sound.

    At levels of -40 to -15 dB of full scale.
    """
    rng = np.random.default_rng(_SEED)
    count = int(_CLIP_S * SAMPLE_RATE_HZ)
    mouths = [
        mouth_of(session, channel.level(sound(count, rng), float(rng.uniform(-40, -15))))
        for _ in range(clips)
    ]
    whole = np.concatenate(mouths)
    return Stillness(
        float((aperture(whole) > _MIN_MOVED_APERTURE).mean()),
        float(whole[:, OPEN].max()),
        clips * _CLIP_S,
    )


def stillness_table(session: onnxruntime.InferenceSession, clips: int = 40) -> dict[str, Stillness]:
    """Music of the family never trained on, other music, noises, and digital silence."""

    def silence(count: int, rng: np.random.Generator) -> Samples:
        return np.zeros(count, np.float32)

    def any_noise(count: int, rng: np.random.Generator) -> Samples:
        return noises.NOISES[rng.integers(len(noises.NOISES))](count, rng)

    return {
        "music, family never trained on": stillness(session, music.unseen_music, clips),
        "music, second family never trained on": stillness(session, music.unseen_combs, clips),
        "music, new pieces of trained families": stillness(session, music.arrangement, clips),
        "noise, new draws": stillness(session, any_noise, clips),
        "digital silence": stillness(session, silence, 1),
    }


def speech_table(
    session: onnxruntime.InferenceSession, sets: Sequence[TestSpeech]
) -> dict[str, Score]:
    """Every set clean, with noise and over the telephone."""
    conditions = (("clean", None), ("10 dB SNR", at_10_db), ("telephone at -38 dB", by_telephone))
    return {
        f"{speech.name}, {name}": judge(session, speech, spoil)
        for speech in sets
        for name, spoil in conditions
    }


def development_sets() -> list[TestSpeech]:
    """Test sets on which choices were made."""
    english, others = espeak_speech(("en",), 60), espeak_speech(_JUDGED_LANGUAGES, 10)
    return [flite_speech(flite.DEVELOPMENT_VOICES), english, others]


def as_markdown(speech: dict[str, Score], still: dict[str, Stillness]) -> str:
    """The two tables of the model card."""
    lines = [
        "| speech | clips | r | closure 100 Hz / 25 fps | false closures | lag ms |",
        "|---|---|---|---|---|---|",
    ]
    for name, s in speech.items():
        closures = f"{s.closure_recall:.3f} / {s.closure_recall_25_fps:.3f}"
        lines.append(
            f"| {name} | {s.clips} | {s.r:.3f} | {closures} | {s.false_closures:.3f} | "
            f"{s.lag_ms:+.1f} |"
        )
    lines += [
        "",
        "| no speech | seconds | frames above 0.15 | widest opening |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {s.seconds:.0f} | {100 * s.moved:.2f} % | {s.widest:.3f} |"
        for name, s in still.items()
    ]
    return "\n".join(lines)


def as_json(speech: dict[str, Score], still: dict[str, Stillness]) -> dict[str, object]:
    """The same numbers as JSON."""
    return {
        "speech": {k: asdict(v) for k, v in speech.items()},
        "no_speech": {k: asdict(v) for k, v in still.items()},
    }


def _framed(utterance: Utterance) -> Utterance:
    """The utterance with a fifth of a second of silence on both sides, as in turns."""
    return joined([utterance], [0.2, 0.2])
