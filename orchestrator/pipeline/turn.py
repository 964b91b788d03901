"""One turn of speech: its audio, the cursor over its frames, and its statistics."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from orchestrator.audio.features.log_mel import SAMPLE_RATE_HZ
from orchestrator.audio.stream import AudioStream
from orchestrator.core.types import (
    AudioChunk,
    GeneratedFrame,
    LipSyncModel,
    RgbImage,
    VideoGenerationConfig,
)
from orchestrator.models.base import FeatureWindows, ModelSpec, ModelState
from orchestrator.pipeline.presentation_clock import PresentationClock
from orchestrator.video.cross_fade import CrossFade

SILENCE_BEFORE_S: Final = 0.25
"""A frame counts as silent only if this much audio before its centre is silent too: the mouth needs
time to close.
"""

HISTORY_S: Final = 4.0
"""Audio kept behind the next frame: the longest window of any model, so that each can take over."""

MAX_LATENCIES: Final = 4096
"""Latencies kept for a turn's percentiles."""


@dataclass(slots=True)
class Generation:
    """State of a turn's image generation; written by the frame generator."""

    model: LipSyncModel | None = None
    """Model of the last frame."""
    last_image: RgbImage | None = None
    fade: CrossFade = field(default_factory=CrossFade)
    states: dict[LipSyncModel, ModelState] = field(default_factory=dict)
    """Recurrent state of each model that has generated frames of the turn."""
    switches: int = 0
    """Changes of the model within the turn."""
    load: float = 0.0
    """Generation time of the last batch per generated frame, over a frame's duration."""
    batch_load: float = 0.0
    """Generation time of the last batch over the duration of the whole batch, skipped frames
    included: the load that a lower frame rate relieves.
    """


@dataclass(slots=True)
class TurnDelivery:
    """Statistics of a turn's frames that were sent; written by the sender."""

    frames_sent: int = 0
    bytes_sent: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_LATENCIES))


class Turn:
    """Audio of one utterance and the next frame to generate; media time is counted in samples."""

    def __init__(
        self,
        turn_id: str,
        ordinal: int,
        config: VideoGenerationConfig,
        first_timestamp_ms: float,
        now: float,
        idle_s: float,
        *,
        pacing_lead_s: float = math.inf,
    ) -> None:
        """`now` is the monotonic arrival of the first chunk; `idle_s` the session's media time at
        which the turn begins. Frames are paced where `pacing_lead_s` is finite.
        """
        self.id = turn_id
        self.ordinal = ordinal
        self.config = config
        self.audio = AudioStream()
        self.clock = PresentationClock(config.target_fps, now, first_timestamp_ms, pacing_lead_s)
        self.next_frame = 0
        """Position on the grid of the requested frame rate, skipped frames included."""
        self.next_sequence = 0
        """Sequence number of the next generated frame."""
        self.finished = False
        self.generation = Generation()
        self.delivery = TurnDelivery()
        self._idle_s = idle_s

    @property
    def fps(self) -> float:
        """Frames per second of this turn."""
        return self.config.target_fps

    @property
    def end_idle_s(self) -> float:
        """Session media time at which this turn's audio ends, where the next turn's idle motion
        goes on.
        """
        return self._idle_s + self.audio.duration_s

    def push(self, chunk: AudioChunk, now: float) -> None:
        """More audio; `now` is its arrival."""
        self.audio.push(chunk)
        self.clock.note_arrival(self.audio.samples_ready, now)

    def push_silence(self, duration_ms: float, now: float) -> None:
        """Audio that was lost keeps its time."""
        self.audio.push_silence(duration_ms)
        self.clock.note_arrival(self.audio.samples_ready, now)

    def finish(self, now: float) -> None:
        """No more audio: what is missing of the look-ahead counts as silence."""
        if not self.finished:
            self.audio.finish()
            self.finished = True
            self.clock.note_arrival(self.audio.samples_ready, now)

    @property
    def frame_count(self) -> int:
        """Frames of the audio so far, the last one perhaps a part of its slot."""
        return math.ceil(self.audio.duration_s * self.fps - 1e-3)

    def frames_ready(self, spec: ModelSpec, most: int) -> int:
        """How many of the next frames, up to `most`, have their look-ahead."""
        if self.finished:
            return min(most, self.frame_count - self.next_frame)
        last_slot = self.audio.rows_ready(spec.features) - 1 - spec.window.ahead_frames
        count = 0
        while count < most and self.clock.centre(self.next_frame + count, spec)[0] <= last_slot:
            count += 1
        return count

    def windows(
        self, spec: ModelSpec, count: int, kept: Sequence[int] | None = None
    ) -> FeatureWindows:
        """The audio side of the next `count` frames, or of those `kept` among them (0 is the next
        one); the cursor does not move.
        """
        numbers = self.next_frame + np.array(range(count) if kept is None else kept)
        centres = [self.clock.centre(int(number), spec) for number in numbers]
        ahead, frames = spec.window.ahead_frames, spec.window.frames
        times_s = (numbers + 0.5) / self.fps
        return FeatureWindows(
            rows=np.stack(
                [self.audio.window(spec.features, slot + ahead, frames) for slot, _ in centres]
            ),
            slot=np.array([slot for slot, _ in centres], dtype=np.int64),
            phase=np.array([phase for _, phase in centres], dtype=np.float32),
            idle_s=times_s + self._idle_s,
            silent=np.array([self._is_silent(time_s, spec) for time_s in times_s], dtype=np.bool_),
        )

    def advance(
        self,
        images: list[RgbImage],
        model: LipSyncModel,
        generation_time_ms: float,
        kept: Sequence[int] | None = None,
        count: int = 0,
        interpolated: Collection[int] = (),
    ) -> list[GeneratedFrame]:
        """The next frames, or those `kept` of the next `count`, have these pictures; moves the
        cursor and lets go of used audio.

        `interpolated` are places in `images` that no model drew.
        """
        first, offsets = self.next_frame, range(len(images)) if kept is None else kept
        frames = [
            GeneratedFrame(
                image=image,
                sequence_number=self.next_sequence + place,
                audio_timestamp_ms=self.clock.audio_timestamp_ms(first + offset),
                lip_sync_model=model,
                generation_time_ms=generation_time_ms,
                is_interpolated=place in interpolated,
            )
            for place, (image, offset) in enumerate(zip(images, offsets, strict=True))
        ]
        self.next_sequence += len(images)
        self.generation.last_image, self.generation.model = images[-1], model
        self.skip(max(count, len(images)))
        return frames

    def frame_keys(self, spec: ModelSpec, numbers: Sequence[int]) -> list[Hashable] | None:
        """What the frames of a stateless model follow from on the side of the turn, as offsets from
        the next frame; None where unknown.
        """
        keys: list[Hashable] = []
        for number in numbers:
            heard = self.audio.fingerprint(
                self.clock.needed_samples(self.next_frame + number, spec)
            )
            if heard is None:
                return None
            keys.append(
                (
                    spec.model,
                    self.fps,
                    self.config.resolution,
                    round(1000.0 * self._idle_s),
                    self.next_frame + number,
                    heard,
                )
            )
        return keys

    def skip(self, count: int) -> None:
        """The next frames are not drawn."""
        self.next_frame += count
        self.audio.discard_before(round((self.next_frame / self.fps - HISTORY_S) * SAMPLE_RATE_HZ))

    def _is_silent(self, time_s: float, spec: ModelSpec) -> bool:
        return self.audio.is_silent(time_s - SILENCE_BEFORE_S, time_s + spec.look_ahead_ms / 1000.0)
