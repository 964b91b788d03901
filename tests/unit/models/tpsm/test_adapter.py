"""The built-in model's adapter: shared windows, silence, one request or two, and faces that an
instance of the renderer does not know.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from orchestrator.core.types import LipSyncModel
from orchestrator.inference import NotCached, NotServed, Tensors
from orchestrator.models.base import FeatureWindows
from orchestrator.models.tpsm.adapter import SPEECH_ENSEMBLE, WINDOW_STEPS, Tpsm, TpsmFace
from orchestrator.rendering.frame_centres import spoken_motion
from orchestrator.rendering.motion import JAW, MOTION_PARAMETERS, MOUTH_PARAMETERS, OPEN


@dataclass
class Renderers:
    """Two instances with a cache each, asked in turn, as Triton asks them; without the ensemble
    unless a test asks for it.
    """

    caches: list[set[bytes]] = field(default_factory=lambda: [set(), set()])
    asked: list[str] = field(default_factory=list)
    uploads: int = 0
    mel_rows: int = 0
    has_ensemble: bool = False

    async def infer(self, model: str, inputs: Tensors) -> dict[str, Any]:
        self.asked.append(model)
        if model == "audio2motion":
            self.mel_rows += len(inputs["mel"])
            return {"motion": self.steps(inputs["mel"])}
        if model == SPEECH_ENSEMBLE:
            return await self.speech(inputs)
        cache = self.caches[self.asked.count("tpsm") % 2]
        if "maps" in inputs:
            assert len(inputs["motion"]) == 1
            self.uploads += 1
            cache.add(inputs["face"][0].tobytes())
        if inputs["face"][0].tobytes() not in cache:
            raise NotCached("unknown face", model=model)
        levels = (inputs["motion"][:, OPEN] * 200 + inputs["motion"][:, 7]).astype(np.uint8)
        return {
            "frames": np.broadcast_to(levels[:, None, None, None], (len(levels), 8, 8, 3)).copy()
        }

    def steps(self, mel: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Open lips, whatever is heard."""
        steps = np.zeros((len(mel), WINDOW_STEPS, len(MOUTH_PARAMETERS)), np.float32)
        steps[:, :, OPEN] = 0.6
        return steps

    async def speech(self, inputs: Tensors) -> dict[str, Any]:
        """What the server makes of its two members."""
        if not self.has_ensemble:
            raise NotServed(SPEECH_ENSEMBLE)
        steps = (await self.infer("audio2motion", {"mel": inputs["mel"]}))["motion"]
        motion, count = spoken_motion(steps, inputs["moments"]), inputs["moments"].shape[1]
        frames = (
            await self.infer(
                "tpsm", {"motion": motion, "face": np.repeat(inputs["face"], count, axis=0)}
            )
        )["frames"]
        return {"frames": frames.reshape(len(steps), -1, *frames.shape[2:])}


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
        frames, _ = asyncio.run(
            Tpsm().generate(renderers.infer, windows([False] * count), some_face(), None)
        )
        assert frames.shape == (count, 8, 8, 3)
        assert (frames >= 99).all()
    assert renderers.uploads == 2
    assert all(renderers.caches)


def test_silent_windows_do_not_ask_the_network() -> None:
    renderers = Renderers()
    frames, _ = asyncio.run(
        Tpsm().generate(renderers.infer, windows([True, False, True]), some_face(), None)
    )
    assert renderers.mel_rows == 1
    assert [int(frame[0, 0, 0] > 50) for frame in frames] == [0, 1, 0]
    renderers.asked.clear()
    asyncio.run(Tpsm().generate(renderers.infer, windows([True, True]), some_face(), None))
    assert "audio2motion" not in renderers.asked


@pytest.mark.parametrize(
    ("slots", "asked"),
    [
        ([2], 1),
        ([2, 7], 1),
        ([2, 7, 12], 2),
        ([2, 7, 12, 17], 2),
        ([2, 11], 2),
        ([0, 4, 30], 2),
        ([0, 4, 8], 1),
    ],
)
def test_neighbouring_frames_share_a_window_and_each_gets_its_own_steps(
    slots: list[int], asked: int
) -> None:
    """The network here answers the time of each step; so must every frame's mouth."""

    for has_ensemble in (False, True):
        clock = Clock(has_ensemble=has_ensemble)
        asyncio.run(Tpsm().generate(clock.infer, clock.windows(slots), some_face(), None))
        assert clock.seen[0] == pytest.approx(slots, abs=0.3)
        assert clock.mel_rows == asked


class Clock(Renderers):
    """The network answers the time of each step in the jaw."""

    def windows(self, slots: list[int]) -> FeatureWindows:
        self.caches, self.seen = [{some_face().digest.tobytes()}] * 2, list[Any]()
        given = windows([False] * len(slots))
        given.slot[:] = slots
        given.rows[:, -1, 0] = given.slot + 10
        return given

    def steps(self, mel: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
        steps = np.zeros((len(mel), WINDOW_STEPS, len(MOUTH_PARAMETERS)), np.float32)
        steps[:, :, JAW] = (mel[:, -1, :1] - 10 + 4 - 15 + np.arange(16)) / 100.0
        return steps

    async def infer(self, model: str, inputs: Tensors) -> dict[str, Any]:
        if model == "tpsm":
            self.seen.append(inputs["motion"][:, JAW] * 100.0)
        return await super().infer(model, inputs)


@pytest.mark.parametrize(
    ("silent", "asked"), [([False, False], 1), ([True, False], 2), ([True, True], 1)]
)
def test_a_chunk_of_speech_is_one_request_where_the_server_has_the_ensemble(
    silent: list[bool], asked: int
) -> None:
    clock = Clock(has_ensemble=True)
    given = clock.windows([2, 7])
    given.silent[:] = silent
    requests = []

    async def infer(model: str, inputs: Tensors) -> dict[str, Any]:
        requests.append(model)
        return await clock.infer(model, inputs)

    asyncio.run(Tpsm().generate(infer, given, some_face(), None))
    assert len(requests) == asked
    assert (SPEECH_ENSEMBLE in requests) == (not any(silent))


def test_windows_with_different_numbers_of_frames_are_two_requests() -> None:
    clock = Clock(has_ensemble=True)
    asyncio.run(Tpsm().generate(clock.infer, clock.windows([2, 7, 12]), some_face(), None))
    assert clock.asked == ["audio2motion", "tpsm"]


def test_a_face_that_the_ensemble_does_not_know_is_taught_to_the_renderer() -> None:
    renderers = Renderers(has_ensemble=True)
    for _ in range(3):
        frames, _ = asyncio.run(
            Tpsm().generate(renderers.infer, windows([False] * 2), some_face(), None)
        )
        assert (frames >= 99).all()
    assert renderers.uploads == 2
    assert renderers.asked[-3:] == [SPEECH_ENSEMBLE, "audio2motion", "tpsm"]


def test_the_declaration_says_what_the_windows_hold() -> None:
    spec = Tpsm.spec
    assert spec.model is LipSyncModel.TPSM
    assert spec.look_ahead_ms <= 120
    inputs_by_network = Tpsm().probe_inputs()
    assert inputs_by_network.keys() == set(spec.triton_models)
    assert inputs_by_network["tpsm"]["motion"].shape == (1, len(MOTION_PARAMETERS))
