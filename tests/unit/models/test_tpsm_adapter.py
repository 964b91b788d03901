"""The built-in model's adapter: frame centres, silence, and faces that an instance of the renderer does not know."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from orchestrator.inference import NotCached, Tensors
from orchestrator.models.base import FeatureWindows
from orchestrator.models.tpsm import CENTRE_STEP, STEPS, Tpsm, TpsmFace, at_frame_centres
from orchestrator.motion import CLOSED, JAW, MOTION_PARAMETERS, MOUTH_PARAMETERS, OPEN
from orchestrator.types import LipSyncModel


def steps_of(values: list[float], column: int = OPEN) -> np.ndarray[Any, np.dtype[np.float32]]:
    steps = np.zeros((1, STEPS, len(MOUTH_PARAMETERS)), np.float32)
    steps[0, :, column] = values
    return steps


def centre(values: list[float], phase: float, column: int = OPEN) -> float:
    return float(at_frame_centres(steps_of(values, column), np.array([phase], np.float32))[0, column])


def test_a_constant_mouth_stays_what_it_is() -> None:
    assert centre([0.5] * STEPS, 0.3, JAW) == pytest.approx(0.5)


@pytest.mark.parametrize("phase", [0.0, 0.25, 0.5, 0.75])
def test_a_ramp_is_read_exactly_at_the_centre(phase: float) -> None:
    ramp = [0.1 * step for step in range(STEPS)]
    assert centre(ramp, phase, JAW) == pytest.approx(0.1 * (CENTRE_STEP + phase), abs=0.005)


def test_a_short_closure_survives_the_smoothing() -> None:
    closure = [0.0] * STEPS
    closure[CENTRE_STEP] = 1.0
    assert centre(closure, 0.0, CLOSED) == pytest.approx(1.0)
    assert centre(closure, 0.0, JAW) < 0.6


def test_lips_that_nearly_touch_touch_and_open_ones_stay_open() -> None:
    assert centre([0.08] * STEPS, 0.0) == 0.0
    assert centre([1.0] * STEPS, 0.0) == pytest.approx(1.0)
    gaps = [centre([level] * STEPS, 0.0) for level in (0.1, 0.2, 0.4, 0.8)]
    assert gaps == sorted(gaps)


def test_a_distant_closure_does_not_close_the_frame() -> None:
    closure = [0.0] * STEPS
    closure[0] = closure[-1] = 1.0
    assert centre(closure, 0.5, CLOSED) == 0.0


@dataclass
class Renderers:
    """Two instances with a cache each, asked in turn, as Triton asks them."""

    caches: list[set[bytes]] = field(default_factory=lambda: [set(), set()])
    asked: list[str] = field(default_factory=list)
    uploads: int = 0
    mel_rows: int = 0

    async def infer(self, model: str, inputs: Tensors) -> dict[str, Any]:
        self.asked.append(model)
        if model == "audio2motion":
            self.mel_rows += len(inputs["mel"])
            return {"motion": np.repeat(np.tile(steps_of([0.6] * STEPS), (1, 2, 1)), len(inputs["mel"]), axis=0)}
        cache = self.caches[self.asked.count("tpsm") % 2]
        if "maps" in inputs:
            assert len(inputs["motion"]) == 1
            self.uploads += 1
            cache.add(inputs["face"][0].tobytes())
        if inputs["face"][0].tobytes() not in cache:
            raise NotCached("unknown face", model=model)
        levels = (inputs["motion"][:, OPEN] * 200 + inputs["motion"][:, 7]).astype(np.uint8)
        return {"frames": np.broadcast_to(levels[:, None, None, None], (len(levels), 8, 8, 3)).copy()}


def some_face() -> TpsmFace:
    maps: Any = None
    return TpsmFace(maps, np.arange(100, dtype=np.uint8), np.arange(32, dtype=np.uint8), seed=1)


def windows(silent: list[bool]) -> FeatureWindows:
    count = len(silent)
    return FeatureWindows(
        rows=np.zeros((count, 88, 80), np.float32),
        slot=np.arange(count) * 5 + 2,
        phase=np.zeros(count, np.float32),
        idle_s=np.arange(count) / 20.0,
        silent=np.array(silent),
    )


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_every_instance_learns_the_face_and_no_frame_is_lost(count: int) -> None:
    renderers = Renderers()
    for _ in range(4):
        frames, _ = asyncio.run(Tpsm().generate(renderers.infer, windows([False] * count), some_face(), None))
        assert frames.shape == (count, 8, 8, 3)
        assert (frames >= 99).all()
    assert renderers.uploads == 2
    assert all(renderers.caches)


def test_silent_windows_do_not_ask_the_network() -> None:
    renderers = Renderers()
    frames, _ = asyncio.run(Tpsm().generate(renderers.infer, windows([True, False, True]), some_face(), None))
    assert renderers.mel_rows == 1
    assert [int(frame[0, 0, 0] > 50) for frame in frames] == [0, 1, 0]
    renderers.asked.clear()
    asyncio.run(Tpsm().generate(renderers.infer, windows([True, True]), some_face(), None))
    assert "audio2motion" not in renderers.asked


@pytest.mark.parametrize(("slots", "asked"), [([2], 1), ([2, 7], 1), ([2, 7, 12], 2), ([2, 7, 12, 17], 2), ([2, 11], 2), ([0, 4, 30], 3)])
def test_neighbouring_frames_share_a_window_and_each_gets_its_own_steps(slots: list[int], asked: int) -> None:
    """The network here answers the time of each step; so must every frame's mouth."""

    class Clock(Renderers):
        async def infer(self, model: str, inputs: Tensors) -> dict[str, Any]:
            if model != "audio2motion":
                return await super().infer(model, inputs)
            self.mel_rows += len(inputs["mel"])
            motion = np.zeros((len(inputs["mel"]), 16, len(MOUTH_PARAMETERS)), np.float32)
            motion[:, :, JAW] = (inputs["mel"][:, -1, :1] - 10 + 4 - 15 + np.arange(16)) / 100.0
            return {"motion": motion}

    given = windows([False] * len(slots))
    given.slot[:] = slots
    given.rows[:, -1, 0] = given.slot + 10
    clock, seen = Clock(), []
    drawing = clock.infer

    async def infer(model: str, inputs: Tensors) -> dict[str, Any]:
        if model == "tpsm" and "maps" not in inputs:
            seen.append(inputs["motion"][:, JAW] * 100.0)
        return await drawing(model, inputs)

    asyncio.run(Tpsm().generate(infer, given, some_face(), None))
    assert clock.mel_rows == asked
    assert seen[0] == pytest.approx(slots, abs=0.3)


def test_the_declaration_says_what_the_windows_hold() -> None:
    spec = Tpsm.spec
    assert spec.model is LipSyncModel.TPSM
    assert spec.look_ahead_ms <= 120
    canary = Tpsm().canary()
    assert canary.keys() == set(spec.triton_models)
    assert canary["tpsm"]["motion"].shape == (1, len(MOTION_PARAMETERS))
