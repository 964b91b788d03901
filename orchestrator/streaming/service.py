"""VideoStreamingService: pictures become coded frames with the time at which to show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from orchestrator.errors import invalid_field
from orchestrator.frame_threads import in_frame_thread
from orchestrator.streaming.bitrate import after_queue, after_report
from orchestrator.streaming.congestion import kept_frames
from orchestrator.streaming.state import StreamState
from orchestrator.streaming.sync import SyncState, corrected, sync_state
from orchestrator.types import GeneratedFrame, Resolution, StreamingFrame, VideoGenerationConfig

INLINE_SIZE: Final = 256
"""Up to this side a picture is coded in some 0.15 ms, less than it costs to hand it to a thread and back."""


def _no_session(session_id: str) -> StreamState | None:
    return None


class VideoStreamingService:
    """The specification's streaming service. State belongs to the session, which is found by its id."""

    def __init__(
        self,
        state_of: Callable[[str], StreamState | None] = _no_session,
        message_of: Callable[[str, str, StreamingFrame], str] | None = None,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`message_of` writes a frame as the wire has it; `clock` is monotonic seconds, for reports."""
        self._state_of = state_of
        self._message_of = message_of
        self._clock = clock

    async def prepare_frames_for_streaming(
        self, session_id: str, frames: Sequence[GeneratedFrame], config: VideoGenerationConfig | None = None
    ) -> list[StreamingFrame]:
        """Coded frames in order, the first of a turn as a keyframe."""
        asked = config or VideoGenerationConfig()
        return await self.code(self._state(session_id), frames, asked, force_keyframe=bool(frames) and frames[0].sequence_number == 0)

    async def code(
        self, state: StreamState, frames: Sequence[GeneratedFrame], config: VideoGenerationConfig, *, force_keyframe: bool
    ) -> list[StreamingFrame]:
        """Coded frames in order, the first as a keyframe when asked for; large ones in a worker thread."""
        if not frames or frames[0].image.shape[0] <= INLINE_SIZE:
            return _coded(state, frames, config, force_keyframe)
        return await in_frame_thread(_coded, state, frames, config, force_keyframe)

    def create_web_socket_message(self, frame: StreamingFrame, session_id: str = "", turn_id: str = "") -> str:
        """The frame as a `response_video` message; ValueError where nobody said how the wire writes it."""
        if self._message_of is None:
            raise ValueError("this service was built without a wire; give it `message_of`")
        return self._message_of(session_id, turn_id, frame)

    def calculate_sync_state(self, session_id: str, audio_timestamp_ms: float, video_timestamp_ms: float) -> SyncState:
        """Where sound and picture stand at the viewer, and what was corrected so far."""
        return sync_state(audio_timestamp_ms, video_timestamp_ms, self._state(session_id).sync.correction_ms)

    def apply_sync_correction(self, frames: Sequence[StreamingFrame], state: SyncState) -> list[StreamingFrame]:
        """Frames moved in time so that they meet their sound."""
        return corrected(frames, state)

    def adapt_bitrate(self, session_id: str, bandwidth_kbps: float | None, packet_loss: float | None) -> int:
        """The target in bit/s after a client's report; `packet_loss` is a share 0..1."""
        state = self._state(session_id)
        state.bitrate = after_report(state.bitrate, bandwidth_kbps, packet_loss, self._clock())
        return state.bitrate.target_bps

    def adapt_to_queue(self, state: StreamState, fill: float, now: float) -> None:
        """A client that takes less than it is sent gets less."""
        state.bitrate = after_queue(state.bitrate, fill, now)

    def skip_frames_for_congestion(self, frames: Sequence[GeneratedFrame], level: float, since_keyframe: int = 1) -> list[GeneratedFrame]:
        """Frames to be coded at a congestion of 0..1; what is due as a keyframe is never skipped."""
        return kept_frames(frames, level, since_keyframe)

    def _state(self, session_id: str) -> StreamState:
        state = self._state_of(session_id)
        if state is None:
            raise invalid_field("sessionId", f"no session {session_id!r}")
        return state


def _coded(
    state: StreamState, frames: Sequence[GeneratedFrame], config: VideoGenerationConfig, force_keyframe: bool
) -> list[StreamingFrame]:
    coded = []
    for index, frame in enumerate(frames):
        picture = state.encode(frame.image, config, frame.audio_timestamp_ms, force_keyframe=force_keyframe and index == 0)
        height, width = frame.image.shape[:2]
        coded.append(
            StreamingFrame(
                data=picture.data,
                sequence_number=frame.sequence_number,
                timestamp_ms=frame.audio_timestamp_ms + state.sync.correction_ms,
                audio_timestamp_ms=frame.audio_timestamp_ms,
                format=config.format,
                is_keyframe=picture.is_keyframe,
                resolution=Resolution(width, height),
                lip_sync_model=frame.lip_sync_model,
                is_interpolated=frame.is_interpolated,
            )
        )
    return coded
