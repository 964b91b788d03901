"""One turn of speech: its audio, its frame clock, and how it went."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Hashable, Sequence
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
from orchestrator.video.cross_fade import CrossFade

SILENCE_BEFORE_S: Final = 0.25
"""A frame rests only when this much audio before its centre was silent too: the mouth needs time to
close.
"""

HISTORY_S: Final = 4.0
"""Audio kept behind the next frame: as much as the longest window of any model reaches back, so
that each can take over.
"""

_ROUNDING: Final = 1e-6
"""Frame centres that lie on a feature row must not fall below it by rounding."""


class Turn:
    """Counts media time in samples: frame k shows the mouth at its centre, `(k + 0.5) / fps` after
    the turn's first sample.
    """

    def __init__(
        self,
        turn_id: str,
        ordinal: int,
        config: VideoGenerationConfig,
        first_timestamp_ms: float,
        now: float,
        idle_s: float,
    ) -> None:
        self.id = turn_id
        self.ordinal = ordinal
        self.config = config
        self.first_timestamp_ms = first_timestamp_ms
        self.started_s = now
        """Monotonic arrival of the first chunk."""
        self.audio = AudioStream()
        self.next_frame = 0
        """On the grid of the asked frame rate, skipped frames included."""
        self.next_sequence = 0
        """Of the frames that were drawn: what the client counts."""
        self.bytes_sent = 0
        self.load = 0.0
        """Time that the last batch took for each frame that was drawn, over the time that a frame
        lasts.
        """
        self.drawing_share = 0.0
        """The same over the time that the whole batch lasts, with the frames that were left out:
        what a lower rate eases.
        """
        self.finished = False
        self.switches = 0
        self.model: LipSyncModel | None = None
        self.last_image: RgbImage | None = None
        self.fade = CrossFade()
        self.states: dict[LipSyncModel, ModelState] = {}
        self.frames_sent = 0
        self.latencies_ms: deque[float] = deque(maxlen=4096)
        self._idle_s = idle_s
        self._arrivals: deque[tuple[int, float]] = deque()

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
        self._arrivals.append((self.audio.samples_ready, now))

    def push_silence(self, duration_ms: float, now: float) -> None:
        """Audio that was lost keeps its time."""
        self.audio.push_silence(duration_ms)
        self._arrivals.append((self.audio.samples_ready, now))

    def finish(self, now: float) -> None:
        """No more audio: what is missing of the look-ahead counts as silence."""
        if not self.finished:
            self.audio.finish()
            self.finished = True
            self._arrivals.append((self.audio.samples_ready, now))

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
        while count < most and self._centre(self.next_frame + count, spec)[0] <= last_slot:
            count += 1
        return count

    def windows(
        self, spec: ModelSpec, count: int, kept: Sequence[int] | None = None
    ) -> FeatureWindows:
        """The audio side of the next `count` frames, or of those `kept` among them (0 is the next
        one); the cursor does not move.
        """
        numbers = self.next_frame + np.array(range(count) if kept is None else kept)
        centres = [self._centre(int(number), spec) for number in numbers]
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
                audio_timestamp_ms=self.audio_timestamp_ms(first + offset),
                lip_sync_model=model,
                generation_time_ms=generation_time_ms,
                is_interpolated=place in interpolated,
            )
            for place, (image, offset) in enumerate(zip(images, offsets, strict=True))
        ]
        self.next_sequence += len(images)
        self.last_image, self.model = images[-1], model
        self.skip(max(count, len(images)))
        return frames

    def frame_keys(self, spec: ModelSpec, numbers: Sequence[int]) -> list[Hashable] | None:
        """What the frames of a stateless model follow from on the side of the turn, as offsets from
        the next frame; None where unknown.
        """
        keys: list[Hashable] = []
        for number in numbers:
            heard = self.audio.fingerprint(self._needed_samples(self.next_frame + number, spec))
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

    def audio_timestamp_ms(self, frame: int) -> float:
        """The client's clock at the start of a frame's slot."""
        return self.first_timestamp_ms + frame * 1000.0 / self.fps

    def frame_at(self, audio_timestamp_ms: float) -> int:
        """The number on the grid of the frame whose slot begins then."""
        return round((audio_timestamp_ms - self.first_timestamp_ms) * self.fps / 1000.0)

    def ready_since(self, frame: int, spec: ModelSpec) -> float:
        """When the last sample of a frame's look-ahead arrived, monotonic seconds."""
        needed = self._needed_samples(frame, spec)
        while len(self._arrivals) > 1 and self._arrivals[0][0] < needed:
            self._arrivals.popleft()
        return self._arrivals[0][1]

    def _needed_samples(self, frame: int, spec: ModelSpec) -> int:
        """Samples of the turn up to the end of a frame's look-ahead."""
        last_row = self._centre(frame, spec)[0] + spec.window.ahead_frames
        return last_row * spec.features.hop_length + spec.features.reach_samples

    def _centre(self, frame: int, spec: ModelSpec) -> tuple[int, float]:
        """The feature row at or before a frame's centre, and how far the centre lies past it, in
        hops.
        """
        hops = (frame + 0.5) / self.fps * SAMPLE_RATE_HZ / spec.features.hop_length + _ROUNDING
        slot = math.floor(hops)
        return slot, hops - slot

    def _is_silent(self, time_s: float, spec: ModelSpec) -> bool:
        return self.audio.is_silent(time_s - SILENCE_BEFORE_S, time_s + spec.look_ahead_ms / 1000.0)
