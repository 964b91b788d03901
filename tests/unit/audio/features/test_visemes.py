"""Sounds with their times, from the network's probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.audio.features.visemes import (
    NAMES,
    WINDOW_FRAMES,
    WINDOW_STEPS,
    mel_windows,
    phonemes,
)


def said(*sounds: tuple[str, int], sure: float = 0.9) -> NDArray[np.float32]:
    """Probabilities of sounds that last so many steps each."""
    rows = []
    for name, steps in sounds:
        row = np.full(len(NAMES), (1.0 - sure) / (len(NAMES) - 1), np.float32)
        row[NAMES.index(name)] = sure
        rows += [row] * steps
    return np.array(rows, np.float32)


def test_a_sound_has_its_time_and_its_confidence_and_silence_is_none() -> None:
    found = phonemes(said(("sil", 10), ("PP", 6), ("aa", 12), ("sil", 5)))
    assert [(each.phoneme, each.start_ms, each.end_ms) for each in found] == [
        ("PP", 100.0, 160.0),
        ("aa", 160.0, 280.0),
    ]
    assert [each.confidence for each in found] == pytest.approx([0.9, 0.9])


def test_a_slip_goes_to_the_likelier_neighbour() -> None:
    rows = said(("aa", 8), ("SS", 2), ("ou", 8))
    rows[8:10, NAMES.index("ou")] = 0.3
    assert [(each.phoneme, each.end_ms) for each in phonemes(rows)] == [("aa", 80.0), ("ou", 180.0)]


def test_nothing_said_is_nothing_found() -> None:
    assert phonemes(said(("sil", 30))) == []
    assert phonemes(np.zeros((0, len(NAMES)), np.float32)) == []


def test_every_frame_is_answered_by_one_step_of_one_window() -> None:
    mel = np.arange(50, dtype=np.float32)[:, None] * np.ones((1, 80), np.float32)
    windows = mel_windows(mel, -18.0)
    assert windows.shape == (4, WINDOW_FRAMES, 80)
    answered = windows[:, WINDOW_FRAMES - 6 - WINDOW_STEPS : WINDOW_FRAMES - 6, 0].ravel()
    assert answered[:50].tolist() == list(range(50))
    assert (answered[50:] == -18.0).all()
    assert (windows[0, : WINDOW_FRAMES - 6 - WINDOW_STEPS] == -18.0).all()
