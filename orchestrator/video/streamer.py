"""VideoStreamingService: pictures become coded frames with the time at which to show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar, overload

from orchestrator.core.errors import LipSyncErrorCode, invalid_field
from orchestrator.core.executors import in_frame_thread
from orchestrator.core.types import (
    GeneratedFrame,
    Resolution,
    StreamingFrame,
    VideoGenerationConfig,
)
from orchestrator.protocol import frame_text
from orchestrator.video.adaptation.bitrate import after_queue, after_report
from orchestrator.video.adaptation.frame_skipping import kept_frames, spared
from orchestrator.video.av_sync import SyncState, corrected, sync_state
from orchestrator.video.stream_state import StreamState

T = TypeVar("T")

INLINE_SIZE: Final = 256
"""Up to this side a picture is coded in some 0.15 ms, less than it costs to hand it to a thread and
back.
"""


def _no_session(session_id: str) -> StreamState | None:
    return None


class VideoStreamingService:
    """The specification's streaming service. State belongs to the session, which is found by its
    id.
    """

    def __init__(
        self,
        state_of: Callable[[str], StreamState | None] = _no_session,
        clock: Callable[[], float] = lambda: 0.0,
        *,
        adapts_bitrate: bool = True,
    ) -> None:
        """`clock` is monotonic seconds, for reports; a service that does not adapt the bitrate
        still counts what was lost.
        """
        self._state_of = state_of
        self._clock = clock
        self._adapts_bitrate = adapts_bitrate

    async def prepare_frames_for_streaming(
        self,
        session_id: str,
        frames: Sequence[GeneratedFrame],
        config: VideoGenerationConfig | None = None,
    ) -> list[StreamingFrame]:
        """Coded frames in order, the first of a turn as a keyframe."""
        asked = config or VideoGenerationConfig()
        return await self.code(
            self._state(session_id),
            frames,
            asked,
            force_keyframe=bool(frames) and frames[0].sequence_number == 0,
        )

    async def code(
        self,
        state: StreamState,
        frames: Sequence[GeneratedFrame],
        config: VideoGenerationConfig,
        *,
        force_keyframe: bool,
    ) -> list[StreamingFrame]:
        """Coded frames in order, the first as a keyframe when asked for; large ones in a worker
        thread.
        """
        if not frames or frames[0].image.shape[0] <= INLINE_SIZE:
            return _coded(state, frames, config, force_keyframe)
        return await in_frame_thread(_coded, state, frames, config, force_keyframe)

    def create_web_socket_message(
        self, frame: StreamingFrame, session_id: str = "", turn_id: str = ""
    ) -> str:
        """The frame as a `response_video` message of docs/protocol.md, as JSON."""
        return frame_text(session_id, turn_id, frame)

    def calculate_sync_state(
        self, session_id: str, audio_timestamp_ms: float, video_timestamp_ms: float
    ) -> SyncState:
        """Where sound and picture stand at the viewer, from the times of what is heard and seen at
        one moment.

        Frames that are coded from here on are shown as the last such measurements ask. SYNC_ERROR
        where they are too far apart for that.
        """
        tracker = self._state(session_id).sync
        measured = sync_state(audio_timestamp_ms, video_timestamp_ms)
        if not tracker.report(measured.offset_ms):
            apart = f"{tracker.offset_ms:.0f} ms apart, more than can be corrected; start anew"
            raise invalid_field(
                "avOffsetMs", f"sound and picture are {apart}", LipSyncErrorCode.SYNC_ERROR
            )
        return replace(measured, correction_applied_ms=tracker.correction_ms)

    def apply_sync_correction(
        self, frames: Sequence[StreamingFrame], state: SyncState
    ) -> list[StreamingFrame]:
        """Frames moved in time so that they meet their sound."""
        return corrected(frames, state)

    def adapt_bitrate(
        self, session_id: str, bandwidth_kbps: float | None, packet_loss: float | None
    ) -> int:
        """The target in bit/s after a client's report; `packet_loss` is a share 0..1 of what was
        sent since its last one.
        """
        state = self._state(session_id)
        if packet_loss is not None:
            state.metrics.lost(packet_loss)
        if self._adapts_bitrate:
            state.bitrate = after_report(state.bitrate, bandwidth_kbps, packet_loss, self._clock())
        return state.bitrate.target_bps

    def adapt_to_queue(self, state: StreamState, fill: float, now: float) -> None:
        """A client that takes less than it is sent gets less, and more again once it takes it."""
        state.bitrate = after_queue(
            state.bitrate, fill, now, state.metrics.current_bitrate_bps, state.carried_bps(now)
        )

    @overload
    def skip_frames_for_congestion(
        self, frames: Sequence[StreamingFrame], level: float
    ) -> list[StreamingFrame]: ...

    @overload
    def skip_frames_for_congestion(
        self, frames: Sequence[T], level: float, since_keyframe: int = 1
    ) -> list[T]: ...

    def skip_frames_for_congestion(
        self, frames: Sequence[Any], level: float, since_keyframe: int = 1
    ) -> list[Any]:
        """Frames to be sent at a congestion of 0..1. Keyframes are never skipped, and what is left
        decodes.

        Best asked before frames are coded: then as many are skipped as `level` asks, but for the
        one that is due as a keyframe, `since_keyframe` frames after the last one. Of coded H.264
        frames fewer can be spared; see `spared`.
        """
        if frames and isinstance(frames[0], StreamingFrame):
            return spared(frames, level)
        return kept_frames(frames, level, since_keyframe)

    def _state(self, session_id: str) -> StreamState:
        state = self._state_of(session_id)
        if state is None:
            raise invalid_field("sessionId", f"no session {session_id!r}")
        return state


def _coded(
    state: StreamState,
    frames: Sequence[GeneratedFrame],
    config: VideoGenerationConfig,
    force_keyframe: bool,
) -> list[StreamingFrame]:
    coded = []
    for index, frame in enumerate(frames):
        picture = state.encode(
            frame.image,
            config,
            frame.audio_timestamp_ms,
            force_keyframe=force_keyframe and index == 0,
        )
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
