"""VideoStreamingService: pictures become coded frames with the time at which to show them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from orchestrator.streaming.encoder import Encoder
from orchestrator.types import GeneratedFrame, Resolution, StreamingFrame, VideoFormat

INLINE_SIZE: Final = 256
"""Up to this side a picture is coded in some 0.15 ms, less than it costs to hand it to a thread and back."""


class VideoStreamingService:
    """Codes frames, large ones in a worker thread; the encoder belongs to the session."""

    async def prepare_frames_for_streaming(
        self, encoder: Encoder, video_format: VideoFormat, frames: Sequence[GeneratedFrame], *, force_keyframe: bool
    ) -> list[StreamingFrame]:
        """Coded frames in order; the first is a keyframe when asked for."""
        if frames[0].image.shape[0] <= INLINE_SIZE:
            return _encode(encoder, video_format, frames, force_keyframe)
        return await asyncio.to_thread(_encode, encoder, video_format, frames, force_keyframe)


def _encode(encoder: Encoder, video_format: VideoFormat, frames: Sequence[GeneratedFrame], force_keyframe: bool) -> list[StreamingFrame]:
    coded = []
    for index, frame in enumerate(frames):
        picture = encoder.encode(frame.image, force_keyframe=force_keyframe and index == 0)
        height, width = frame.image.shape[:2]
        coded.append(
            StreamingFrame(
                data=picture.data,
                sequence_number=frame.sequence_number,
                timestamp_ms=frame.audio_timestamp_ms,
                audio_timestamp_ms=frame.audio_timestamp_ms,
                format=video_format,
                is_keyframe=picture.is_keyframe,
                resolution=Resolution(width, height),
                lip_sync_model=frame.lip_sync_model,
                is_interpolated=frame.is_interpolated,
            )
        )
    return coded
