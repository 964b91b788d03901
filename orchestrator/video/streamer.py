"""VideoStreamingService: encode pictures into frames with their presentation timestamps."""

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
from orchestrator.video.adaptation.frame_skipping import kept_frames, spared
from orchestrator.video.av_sync import SyncState, corrected, sync_state
from orchestrator.video.stream_state import StreamState

T = TypeVar("T")

INLINE_SIZE: Final = 256
"""Side in pixels up to which a picture is encoded inline: that takes about 0.15 ms, less than a
thread switch.
"""


def _no_session(session_id: str) -> StreamState | None:
    return None


class VideoStreamingService:
    """The specification's streaming service. State belongs to the session, found by its id."""

    def __init__(
        self,
        state_of: Callable[[str], StreamState | None] = _no_session,
        clock: Callable[[], float] = lambda: 0.0,
        *,
        adapts_bitrate: bool = True,
    ) -> None:
        """`clock` gives monotonic seconds for reports. A service that does not adapt the bitrate
        still counts lost packets.
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
        """Encoded frames in order, the first of a turn as a keyframe."""
        config = config or VideoGenerationConfig()
        return await self.code(
            self._state(session_id),
            frames,
            config,
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
        """Encoded frames in order, the first as a keyframe if forced; large pictures are encoded in
        a worker thread.
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
        """Offset of audio and video at the viewer, from the timestamps played at one moment.

        Presentation timestamps of later frames are corrected by the last measurements. Raises
        SYNC_ERROR if the offset is too large to correct.
        """
        return self.measure_sync(self._state(session_id), audio_timestamp_ms, video_timestamp_ms)

    def measure_sync(
        self, state: StreamState, audio_timestamp_ms: float, video_timestamp_ms: float
    ) -> SyncState:
        """See `calculate_sync_state`, for a given stream."""
        tracker = state.sync
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
        """Frames with presentation timestamps moved by the offset of `state`."""
        return corrected(frames, state)

    def adapt_bitrate(
        self, session_id: str, bandwidth_kbps: float | None, packet_loss: float | None
    ) -> int:
        """Target in bit/s after a client's report; `packet_loss` is a share 0..1 of the frames sent
        since its last report.
        """
        return self.apply_report(self._state(session_id), bandwidth_kbps, packet_loss)

    def apply_report(
        self, state: StreamState, bandwidth_kbps: float | None, packet_loss: float | None
    ) -> int:
        """See `adapt_bitrate`, for a given stream."""
        if packet_loss is not None:
            state.metrics.lost(packet_loss)
        if self._adapts_bitrate:
            state.quality.note_report(bandwidth_kbps, packet_loss, self._clock())
        return state.quality.bitrate.target_bps

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
        """Frames to send at a congestion `level` of 0..1. Keyframes are never skipped, and the
        remaining frames decode.

        Frames that are not encoded yet are skipped as `level` requires, except for the one due as a
        keyframe, `since_keyframe` frames after the last one. Of encoded H.264 frames fewer can be
        skipped; see `spared`.
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
