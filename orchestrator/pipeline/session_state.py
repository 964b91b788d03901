"""State of one session."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from typing import Any

from orchestrator.core.channel import Channel
from orchestrator.core.types import FaceModel, LipSyncModel, VideoGenerationConfig
from orchestrator.pipeline.selection_policy import Reason
from orchestrator.pipeline.session_events import InboxItem, Outgoing, OutgoingFrame, weight_ms
from orchestrator.pipeline.slow_model_policy import GivingWay
from orchestrator.pipeline.turn import Turn
from orchestrator.video.adaptation.frame_rate import FrameRate
from orchestrator.video.stream_state import StreamState

SPEAKING_S = 2.0
"""A session whose last audio is older than this and that has none waiting does not speak: it costs
next to nothing.
"""


class Session:
    """State of one conversation; one task works on it, the socket's tasks only touch its two
    channels.
    """

    def __init__(
        self,
        session_id: str,
        user_id: str,
        *,
        inbox_ms: float,
        outbox_frames: int,
        key: str | None = None,
    ) -> None:
        self.id = session_id
        self.user_id = user_id
        self.key = key or session_id
        """What the registry knows it by: ids over sockets are their user's own, those of calls are
        the program's.
        """
        self.inbox: Channel[InboxItem] = Channel(inbox_ms, weight_ms)
        self.inbox_s = inbox_ms / 1000.0
        self.outbox: Channel[Outgoing] = Channel(
            outbox_frames, lambda item: 1.0 if isinstance(item, OutgoingFrame) else 0.0
        )
        self.preference: LipSyncModel | None = None
        self.face: FaceModel | None = None
        self.named_face: str | None = None
        """The id that the client last named and was given; None: it speaks with the user's active
        face.
        """
        self.swapped_face: FaceModel | None = None
        """Takes the place of the face with the next chunk."""
        self.compatible: tuple[LipSyncModel, ...] = ()
        """Models that can drive the face, found once when it is opened."""
        self.turn: Turn | None = None
        self.model: LipSyncModel | None = None
        """Drew the last frame."""
        self.drawn_wish: LipSyncModel | None = None
        """The preference that held when it did."""
        self.excluded_until_s: dict[LipSyncModel, float] = {}
        """Models that failed on this session's own face or audio."""
        self.awaited_since_s: dict[LipSyncModel, float] = {}
        """Models that would draw if the face were prepared for them, and since when."""
        self.size = VideoGenerationConfig().resolution.width
        """Side of the current turn's pictures, in pixels."""
        self.told_of: LipSyncModel | None = None
        """The preference that the client was told is not served."""
        self.reasons: dict[LipSyncModel, Reason] = {}
        """Why each model stood where it stood when the last frames' model was chosen."""
        self.model_since_s = 0.0
        """When the model that draws now took over."""
        self.stream = StreamState()
        self.frame_rate = FrameRate()
        self.giving_way = GivingWay()
        """Models that are too slow for what is said here."""
        self.bandwidth_kbps: float | None = None
        """The client's last report."""
        self.posters: set[tuple[str, int]] = set()
        """Faces and sizes whose poster was sent."""
        self.idle_s = 0.0
        self.heard_s = -math.inf
        """When audio last arrived, on the loop's clock."""
        self.turns = 0
        """Begun by calls; turns that come over a socket are counted there."""
        self.config = VideoGenerationConfig()
        """Of the turn that a call began last, which holds for its tail too, when the turn is over. 
        """
        self.working = asyncio.Lock()
        """Held by the call that works on the session; a socket's sessions have a task instead."""

    def speaks(self, now: float) -> bool:
        """Whether it has frames to draw now, or will have in a moment."""
        return len(self.inbox) > 0 or self.is_heard(now)

    def is_heard(self, now: float) -> bool:
        """Whether sound arrives now."""
        return now - self.heard_s < SPEAKING_S


def merged_config(config: VideoGenerationConfig, **changes: Any) -> VideoGenerationConfig:
    """`config` with every change that is not None."""
    return dataclasses.replace(
        config, **{key: value for key, value in changes.items() if value is not None}
    )
