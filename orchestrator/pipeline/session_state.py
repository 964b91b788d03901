"""State of one session, a record per owner: each record names the one component that writes it."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from orchestrator.core.channel import Channel
from orchestrator.core.types import FaceModel, LipSyncModel, VideoGenerationConfig
from orchestrator.pipeline.selection_policy import Reason
from orchestrator.pipeline.session_events import InboxItem, Outgoing, OutgoingFrame, weight_ms
from orchestrator.pipeline.slow_model_policy import SlowModels
from orchestrator.pipeline.turn import Turn
from orchestrator.video.stream_state import StreamState

SessionKey: TypeAlias = tuple[str, str]
"""User id and session id."""

SPEAKING_S: Final = 2.0
"""A session without queued audio counts as silent once its last audio is older than this."""


@dataclass(slots=True, eq=False)
class TurnAudio:
    """Incoming audio and the turn in progress; written by the session's worker or by its call."""

    inbox: Channel[InboxItem]
    inbox_s: float
    """Capacity of the inbox in seconds of audio."""
    turn: Turn | None = None
    idle_s: float = 0.0
    """Media time of the session at the end of the last turn; the idle motion continues there."""
    heard_s: float = -math.inf
    """Arrival of the last audio on the loop's clock."""

    def is_heard(self, now: float) -> bool:
        """True while audio keeps arriving."""
        return now - self.heard_s < SPEAKING_S


@dataclass(slots=True, eq=False)
class FaceState:
    """Face of the session; written by `SessionFaces`, except for `swapped`."""

    current: FaceModel | None = None
    named_id: str | None = None
    """Id that the client last named and got; None: the user's active face."""
    swapped: FaceModel | None = None
    """Replaces the current face with the next chunk; written by the session directory."""
    size: int = VideoGenerationConfig().resolution.width
    """Side of the current turn's pictures in pixels."""
    posters: set[tuple[str, int]] = field(default_factory=set)
    """Face ids and sizes whose poster was sent."""


@dataclass(slots=True, eq=False)
class ModelState:
    """Model selection of the session; written by `ModelSelector`."""

    preference: LipSyncModel | None = None
    compatible: tuple[LipSyncModel, ...] = ()
    """Models that can generate frames of the current face."""
    current: LipSyncModel | None = None
    """Model of the last frame."""
    current_preference: LipSyncModel | None = None
    """Preference in force at the last frame."""
    since_s: float = 0.0
    """Time at which the current model took over."""
    excluded_until_s: dict[LipSyncModel, float] = field(default_factory=dict)
    """Models that failed on this session's own face or audio."""
    awaited_since_s: dict[LipSyncModel, float] = field(default_factory=dict)
    """Models that rank first but whose face is not prepared, and since when."""
    reasons: dict[LipSyncModel, Reason] = field(default_factory=dict)
    """Reason for each model's rank at the last selection."""
    reported_preference: LipSyncModel | None = None
    """Preference that the client was notified is not served."""
    slow: SlowModels = field(default_factory=SlowModels)
    """Models benched because the session's backlog grew."""


@dataclass(slots=True, eq=False)
class Delivery:
    """Outgoing messages and their stream; written by the session's sender."""

    outbox: Channel[Outgoing]
    stream: StreamState = field(default_factory=StreamState)
    bandwidth_kbps: float | None = None
    """Last bandwidth that the client reported."""
    stale_before_s: float = -math.inf
    """Frames that could have left before are skipped: the client was disconnected then."""


@dataclass(slots=True, eq=False)
class CallState:
    """State of a session opened by `LipSyncService` calls; written by the call in progress."""

    turns: int = 0
    """Turns begun by calls; turns over a socket are counted by `TurnCounter`."""
    config: VideoGenerationConfig = field(default_factory=VideoGenerationConfig)
    """Configuration of the last turn; it also holds for frames encoded after the turn's end."""
    working: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Serializes calls; sessions over a socket have a worker task instead."""


class Session:
    """One session: its identity and the records of its owners."""

    def __init__(
        self, session_id: str, user_id: str, *, inbox_ms: float, outbox_frames: int
    ) -> None:
        """The inbox holds `inbox_ms` of audio, the outbox `outbox_frames` frames."""
        self.id = session_id
        self.user_id = user_id
        self.audio = TurnAudio(Channel(inbox_ms, weight_ms), inbox_ms / 1000.0)
        self.face = FaceState()
        self.models = ModelState()
        self.delivery = Delivery(Channel(outbox_frames, _frames))
        self.calls = CallState()

    @property
    def key(self) -> SessionKey:
        """Key in the directory: ids are scoped to the user."""
        return self.user_id, self.id

    def speaks(self, now: float) -> bool:
        """True while the session has frames to generate, or will have in a moment."""
        return len(self.audio.inbox) > 0 or self.audio.is_heard(now)


def merged_config(config: VideoGenerationConfig, **changes: Any) -> VideoGenerationConfig:
    """`config` with every change that is not None."""
    return dataclasses.replace(
        config, **{key: value for key, value in changes.items() if value is not None}
    )


def _frames(item: Outgoing) -> float:
    return 1.0 if isinstance(item, OutgoingFrame) else 0.0
