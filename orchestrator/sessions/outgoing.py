"""Conversion of a session's outgoing items into protocol messages."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import numpy as np

from orchestrator import protocol
from orchestrator.pipeline.frame_pipeline import FramePipeline
from orchestrator.pipeline.session_events import (
    Ending,
    OutgoingFrame,
    Poster,
    Resumed,
    Switched,
    TurnEnded,
    TurnStarted,
)
from orchestrator.pipeline.session_state import Session
from orchestrator.pipeline.turn import Turn
from orchestrator.video.stream_state import StreamState

Message: TypeAlias = OutgoingFrame | TurnStarted | TurnEnded | Switched | Poster | Resumed | Ending
"""All items but errors, for which the sink has a method."""


def message_of(
    session: Session, out: Message, pipeline: FramePipeline, now: float, instance: str
) -> protocol.ServerMessage:
    """Message of an item. A frame's number is the count of frames sent in its turn, so that skipped
    frames leave no gap.
    """
    if isinstance(out, OutgoingFrame):
        number = out.turn.delivery.frames_sent
        return protocol.video_message(session.id, out.turn.id, out.frame, number)
    if isinstance(out, TurnStarted):
        return _start(session, out, pipeline, instance)
    if isinstance(out, TurnEnded):
        metrics = turn_metrics(out.turn, session.delivery.stream)
        return protocol.ResponseEnd(session.id, out.turn.id, metrics, out.interrupted)
    if isinstance(out, Poster):
        return protocol.Poster(session.id, out.face_model_id, out.data, "jpeg", out.size, out.size)
    if isinstance(out, Resumed):
        open_turns = list(out.open_turns)
        return protocol.SessionResumed(session.id, out.turn_id, out.next_chunk, open_turns)
    if isinstance(out, Ending):
        left_s = round(max(0.0, out.ends_s - now), 1)
        return protocol.SessionWarning(session.id, out.reason, left_s)
    weights = pipeline.models.weights_warning(out.after) or msgspec.UNSET
    return protocol.ModelSwitched(session.id, out.before, out.after, out.reason, weights)


def _start(
    session: Session, out: TurnStarted, pipeline: FramePipeline, instance: str
) -> protocol.ResponseStart:
    weights = pipeline.models.weights_warning(out.model) or msgspec.UNSET
    time_ms = protocol.wire_time(out.timestamp_ms)
    return protocol.ResponseStart(session.id, out.turn.id, out.model, time_ms, instance, weights)


def turn_metrics(turn: Turn, stream: StreamState) -> protocol.TurnMetrics:
    """Statistics of a turn for its `response_end`."""
    latencies, seconds = np.array(turn.delivery.latencies_ms or [0.0]), turn.next_frame / turn.fps
    return protocol.TurnMetrics(
        frames_generated=turn.next_frame,
        frames_dropped=turn.next_frame - turn.delivery.frames_sent,
        average_latency_ms=round(float(latencies.mean()), 2),
        p95_latency_ms=round(float(np.percentile(latencies, 95)), 2),
        model_used=turn.generation.model,
        model_switches=turn.generation.switches,
        bytes_sent=turn.delivery.bytes_sent,
        bitrate_bps=round(8.0 * turn.delivery.bytes_sent / seconds) if seconds else 0,
        packets_lost=stream.metrics.packets_lost,
        jitter_ms=round(stream.metrics.jitter_ms, 2),
        av_offset_ms=round(stream.sync.offset_ms, 1) if stream.sync.reports else None,
        sync_correction_ms=round(stream.sync.correction_ms, 1),
    )
