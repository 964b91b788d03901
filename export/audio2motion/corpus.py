"""Training features on disk: blocks of speech with targets, and blocks of other sounds."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from export.audio2motion import espeak, festival, flite, music, noises, texts
from export.audio2motion.channel import level, through_channel
from export.audio2motion.speech import Utterance, joined
from export.audio2motion.world import changed_voices, draw_change
from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ, MelSpec, log_mel
from orchestrator.core.types import Samples

MEL: Final = MelSpec()
UTTERANCES_PER_BLOCK: Final = 12
HELD_OUT_VARIANTS: Final = frozenset(
    {"f4", "m7", "klatt3", "linda", "pablo", "shelby", "grandpa", "Andrea"}
)
"""espeak voices of the development test; never trained on."""
NOT_SPEECH: Final = ("noise", "music", "babble")
_NOISE_S: Final = 10.0
_NOISE_CLIPS: Final = 36


@dataclass(frozen=True, slots=True)
class Block:
    """One unit of work: its engine (or one of `NOT_SPEECH`) and its number, also its seed."""

    engine: str
    number: int

    def path(self, folder: Path) -> Path:
        return folder / f"{self.engine}-{self.number:04d}.npz"


def blocks(engines: tuple[str, ...], count: int) -> list[Block]:
    """Plan `count` blocks of speech, the engines in turn.

    Two blocks of noise, music and babble each are added for every ten of them.
    """
    planned = []
    for number in range(count):
        planned.append(Block(engines[number % len(engines)], number))
        if number % 10 in (2, 7):
            planned += [Block(kind, number) for kind in NOT_SPEECH]
    return planned


def make(planned: Iterable[Block], folder: Path, seed: int, workers: int) -> None:
    """Make the blocks that are not in the folder yet, and print the progress."""
    folder.mkdir(parents=True, exist_ok=True)
    todo = [block for block in planned if not block.path(folder).exists()]
    with ProcessPoolExecutor(workers) as pool:
        waiting = [pool.submit(make_block, block, folder, seed) for block in todo]
        for done, future in enumerate(waiting, 1):
            print(
                "\rspeech and noise: "
                f"block {done} of {len(todo)}, {future.result():.0f} s of sound",
                end="",
                flush=True,
            )
    print()


def make_block(block: Block, folder: Path, seed: int) -> float:
    """Write one block; returns the seconds of audio in it."""
    rng = np.random.default_rng([seed, block.number, zlib.crc32(block.engine.encode())])
    arrays = (
        {"mel": _not_speech(block.engine, rng)}
        if block.engine in NOT_SPEECH
        else _speech(block.engine, rng)
    )
    partial = block.path(folder).with_suffix(".part.npz")
    np.savez(partial, allow_pickle=False, **arrays)
    partial.rename(block.path(folder))
    return len(arrays["mel"]) * MEL.hop_length / SAMPLE_RATE_HZ


def _speech(engine: str, rng: np.random.Generator) -> dict[str, NDArray[np.generic]]:
    """Features and clips of a block of speech.

    `mel` is f16 `[frames, 80]` of all clips; `clips` is JSON of each one's frames and phones.
    """
    mels, clips = [], []
    for clip in _voices(engine, rng):
        noise = _some_noise(len(clip.samples), rng)
        mels.append(log_mel(through_channel(clip.samples, noise, rng), MEL).astype(np.float16))
        phones = [(p.symbol, round(p.start_s, 4), round(p.end_s, 4)) for p in clip.phones]
        clips.append((len(mels[-1]), clip.voice, clip.language, phones))
    return {
        "mel": np.concatenate(mels),
        "clips": np.frombuffer(json.dumps(clips).encode(), np.uint8),
    }


def _voices(engine: str, rng: np.random.Generator) -> list[Utterance]:
    """Every utterance of the block in the engine's voice and in changed voices.

    Each has pauses around it.
    """
    varied = []
    for utterance in speak(engine, rng):
        versions = changed_voices(utterance, [draw_change(rng) for _ in range(2)])
        versions += [utterance] if rng.random() < 0.5 else []
        varied += [
            joined([version], rng.choice([0.05, 0.15, 0.4, 1.0], 2).tolist())
            for version in versions
        ]
    return varied


def speak(engine: str, rng: np.random.Generator) -> list[Utterance]:
    """Synthesise a dozen utterances of one engine on random text."""
    if engine == "espeak":
        return [u for u in (_espeak(rng) for _ in range(UTTERANCES_PER_BLOCK)) if u is not None]
    if engine == "festival":
        voice = festival.any_voice(rng)
        return festival.say(
            voice, [texts.sentence(voice.language, rng) for _ in range(UTTERANCES_PER_BLOCK)]
        )
    name = str(rng.choice(flite.DEVELOPMENT_VOICES))
    return [flite.say(name, texts.sentence("en", rng)) for _ in range(UTTERANCES_PER_BLOCK)]


def _espeak(rng: np.random.Generator) -> Utterance | None:
    language = texts.any_language(rng)
    allowed = [variant for variant in espeak.VARIANTS if variant not in HELD_OUT_VARIANTS]
    rate_wpm, pitch, pitch_range = (
        int(rng.integers(120, 210)),
        int(rng.integers(20, 80)),
        int(rng.integers(20, 90)),
    )
    voice, variant = str(rng.choice(texts.LANGUAGES[language])), str(rng.choice(allowed))
    return espeak.load().say(
        texts.sentence(language, rng),
        voice,
        variant,
        rate_wpm=rate_wpm,
        pitch=pitch,
        pitch_range=pitch_range,
    )


def _some_noise(count: int, rng: np.random.Generator) -> Samples:
    kind = (*noises.NOISES, music.arrangement)[rng.integers(len(noises.NOISES) + 1)]
    return kind(count, rng)


def _not_speech(kind: str, rng: np.random.Generator) -> NDArray[np.generic]:
    count = int(_NOISE_S * SAMPLE_RATE_HZ)
    if kind == "babble":
        voices = [u.samples for u in speak("espeak", rng)]
        waves = [noises.babble(count, voices, rng) for _ in range(_NOISE_CLIPS // 3)]
    elif kind == "music":
        waves = [music.arrangement(count, rng) for _ in range(_NOISE_CLIPS)]
    else:
        waves = [
            noises.NOISES[rng.integers(len(noises.NOISES))](count, rng) for _ in range(_NOISE_CLIPS)
        ]
    through = [through_channel(wave, noises.steady(count, rng), rng) for wave in waves]
    return np.concatenate([log_mel(level(wave, -26.0), MEL) for wave in through]).astype(np.float16)
