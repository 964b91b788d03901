"""Everything that belongs to one conversation, and the registry that limits how many there are."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator.core.channel import Channel
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import AudioChunk, FaceModel, LipSyncModel, StreamingFrame, VideoGenerationConfig
from orchestrator.pipeline.selection_policy import Reason
from orchestrator.pipeline.slow_model_policy import GivingWay
from orchestrator.pipeline.turn import Turn
from orchestrator.video.adaptation.frame_rate import FrameRate
from orchestrator.video.stream_state import StreamState

SPEAKING_S = 2.0
"""A session whose last audio is older than this and that has none waiting does not speak: it costs next to nothing."""

RETRY_AFTER_S = 5
"""What a client that finds no room is told to wait: turns end after seconds, so a place may be free by then."""

CONTROL_WEIGHT_MS = 1.0
"""What an item without audio counts in the inbox, so that their number is bounded too."""

MOST_BYTES_PER_MS = 768.0
"""48 kHz, two channels of 8 bytes: a chunk counts in the inbox for as long as its bytes could play, whatever it says of itself."""


@dataclass(slots=True)
class InboxItem:
    """One step of a turn, in the order of arrival: a chunk, or the turn's end when `chunk` is None."""

    ordinal: int
    """Number of the turn within the session."""
    turn_id: str
    config: VideoGenerationConfig
    face_model_id: str | None
    chunk: AudioChunk | None
    arrived_s: float
    duration_ms: float
    lost_before_ms: float = 0.0
    """Audio that overflowed just before this item; it counts as silence."""


def weight_ms(item: InboxItem) -> float:
    """What an item counts in the inbox: the sound it holds, and no less than what it takes of memory."""
    held_ms = 0.0 if item.chunk is None else len(item.chunk.data) / MOST_BYTES_PER_MS
    return max(item.duration_ms, held_ms, CONTROL_WEIGHT_MS)


@dataclass(frozen=True, slots=True)
class OutgoingFrame:
    """A frame on its way out, with what its latency is measured from."""

    turn: Turn
    frame: StreamingFrame
    ready_s: float
    trace: Any = None
    """The open span of the chunk that it came from."""


@dataclass(frozen=True, slots=True)
class TurnStarted:
    """`response_start` is due."""

    turn: Turn
    model: LipSyncModel
    timestamp_ms: float


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """`response_end` is due; its metrics are read when it leaves."""

    turn: Turn
    interrupted: bool


@dataclass(frozen=True, slots=True)
class Switched:
    """`model_switched` is due."""

    before: LipSyncModel
    after: LipSyncModel
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """`error` is due."""

    error: LipSyncError


@dataclass(frozen=True, slots=True)
class Poster:
    """The face at rest as JPEG, before any frame: what a viewer sees first."""

    face_model_id: str
    data: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """`session_resumed` is due: where the conversation stood when its connection was lost."""

    turn_id: str | None
    """Of the turn whose audio goes on."""
    next_chunk: int
    """Number of the chunk that is missing first."""
    open_turns: tuple[str, ...]
    """Turns whose `response_end` is still to come."""


@dataclass(frozen=True, slots=True)
class Ending:
    """`session_warning` is due: the session has a limit, and it is near."""

    reason: str
    ends_s: float
    """Monotonic."""


Outgoing = OutgoingFrame | TurnStarted | TurnEnded | Switched | Failed | Poster | Resumed | Ending


class Session:
    """State of one conversation; one task works on it, the socket's tasks only touch its two channels."""

    def __init__(self, session_id: str, user_id: str, *, inbox_ms: float, outbox_frames: int, key: str | None = None) -> None:
        self.id = session_id
        self.user_id = user_id
        self.key = key or session_id
        """What the registry knows it by: ids over sockets are their user's own, those of calls are the program's."""
        self.inbox: Channel[InboxItem] = Channel(inbox_ms, weight_ms)
        self.inbox_s = inbox_ms / 1000.0
        self.outbox: Channel[Outgoing] = Channel(outbox_frames, lambda item: 1.0 if isinstance(item, OutgoingFrame) else 0.0)
        self.preference: LipSyncModel | None = None
        self.face: FaceModel | None = None
        self.named_face: str | None = None
        """The id that the client last named and was given; None: it speaks with the user's active face."""
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
        """Of the turn that a call began last, which holds for its tail too, when the turn is over."""
        self.working = asyncio.Lock()
        """Held by the call that works on the session; a socket's sessions have a task instead."""

    def speaks(self, now: float) -> bool:
        """Whether it has frames to draw now, or will have in a moment."""
        return len(self.inbox) > 0 or self.is_heard(now)

    def is_heard(self, now: float) -> bool:
        """Whether sound arrives now."""
        return now - self.heard_s < SPEAKING_S


class SessionRegistry:
    """All open sessions by key."""

    def __init__(self, limit: int, limit_per_user: int | None = None) -> None:
        self._limit = limit
        self._limit_per_user = limit if limit_per_user is None else limit_per_user
        self._sessions: dict[str, Session] = {}
        self.carries: int | None = None
        """Faces that the machine draws at once, once that was measured; sessions that only listen are not counted."""

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._sessions.values()))

    def add(self, session: Session) -> None:
        """Admit a session; SESSION_LIMIT when there are too many, INVALID_MESSAGE when its key is taken."""
        if session.key in self._sessions:
            message = f"sessionId: {session.id!r} is open on another connection; choose another id"
            raise LipSyncError(LipSyncErrorCode.INVALID_MESSAGE, message, recoverable=False, details={"field": "sessionId"})
        if len(self._sessions) >= self._limit:
            raise too_many(f"all {self._limit} sessions are taken; try again when one has ended", limit=self._limit)
        if self.carries is not None and self.speaking() >= self.carries:
            raise too_many(f"{self.carries} faces speak, which is what this machine carries; try again in a moment", limit=self.carries)
        if sum(other.user_id == session.user_id for other in self._sessions.values()) >= self._limit_per_user:
            message = f"user {session.user_id!r} has {self._limit_per_user} sessions; end one of them first"
            raise too_many(message, limitPerUser=self._limit_per_user)
        self._sessions[session.key] = session

    def speaking(self) -> int:
        """Sessions with frames to draw."""
        now = asyncio.get_running_loop().time()
        return sum(session.speaks(now) for session in self._sessions.values())

    def get(self, key: str) -> Session | None:
        """The open session of that key, which for calls is its id."""
        return self._sessions.get(key)

    def swap_face(self, user_id: str, old_id: str, face: FaceModel) -> None:
        """Sessions of the user that speak with the old face go on with this one, from their next chunk."""
        for session in self._sessions.values():
            if session.user_id == user_id and session.face is not None and session.face.id == old_id:
                session.swapped_face = face

    def remove(self, session: Session) -> None:
        """Forget a session."""
        if self._sessions.get(session.key) is session:
            del self._sessions[session.key]


def too_many(message: str, *, retry_after_s: int = RETRY_AFTER_S, **details: int) -> LipSyncError:
    """SESSION_LIMIT with the time after which to try again; over HTTP it becomes `Retry-After`."""
    return LipSyncError(LipSyncErrorCode.SESSION_LIMIT, message, recoverable=True, details={**details, "retryAfterS": retry_after_s})


class TurnCounter:
    """Says which turn an arriving message belongs to, before any of it is worked on."""

    def __init__(self) -> None:
        self.ordinal = 0
        self.turn_id = ""
        self.next_chunk = 0
        """Number of the chunk that follows the last one."""
        self._open = False
        self._ends_ms = 0.0
        self._rejoining = False
        self._interrupted_ids: deque[str] = deque(maxlen=16)

    @property
    def is_open(self) -> bool:
        """Whether more audio of the newest turn is to come."""
        return self._open

    def chunk(self, turn_id: str | None, sequence_number: int) -> bool:
        """Account for a chunk; False when it is to be ignored: its turn was interrupted, or it came before the connection was lost.

        A chunk numbered 0 begins an interrupted turn anew, so a client may use the same turn id again.
        """
        if turn_id is not None and turn_id in self._interrupted_ids:
            if sequence_number > 0:
                return False
            self._interrupted_ids.remove(turn_id)
        if self._rejoining and self.is_of_open_turn(turn_id) and sequence_number < self.next_chunk:
            return False
        if not self._open or (turn_id is not None and turn_id != self.turn_id):
            self.ordinal += 1
            self.turn_id = turn_id or f"turn-{self.ordinal:03d}"
            self._open, self._rejoining = True, False
        return True

    def is_of_open_turn(self, turn_id: str | None) -> bool:
        """Whether a chunk that names this turn, or none, goes on with the one that is coming in."""
        return self._open and turn_id in (None, self.turn_id)

    def lost_before(self, chunk: AudioChunk, duration_ms: float) -> float:
        """Milliseconds that are missing before a counted chunk: after a lost connection the client's clock says how much was never sent."""
        missing = self._rejoining and chunk.sequence_number > self.next_chunk
        lost_ms = max(0.0, chunk.timestamp_ms - self._ends_ms) if missing else 0.0
        self.next_chunk, self._ends_ms = chunk.sequence_number + 1, chunk.timestamp_ms + duration_ms
        self._rejoining = False
        return lost_ms

    def rejoin(self) -> None:
        """The client is back: chunks of the open turn that it sends again are known."""
        self._rejoining = self._open

    def end(self) -> bool:
        """The open turn is complete; False when none is open."""
        was_open, self._open = self._open, False
        return was_open

    def interrupt(self, ordinal: int) -> None:
        """Turn `ordinal` is given up; if it is still coming in, later chunks that name it are ignored."""
        if ordinal == self.ordinal and self._open:
            if self.turn_id not in self._interrupted_ids:
                self._interrupted_ids.append(self.turn_id)
            self._open = False


def merged_config(config: VideoGenerationConfig, **changes: Any) -> VideoGenerationConfig:
    """`config` with every change that is not None."""
    return dataclasses.replace(config, **{key: value for key, value in changes.items() if value is not None})
