"""Congestion control: the target bitrate from the client's reports and from the fill of its queue.

Pure functions; time is an argument, in monotonic seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from orchestrator.video.adaptation.thresholds import (
    BANDWIDTH_SHARE,
    CUT_INTERVAL_S,
    DRAIN_S,
    DRAIN_SHARE,
    LOSS_HEAVY,
    LOSS_IGNORED,
    MAX_BITRATE_BPS,
    MIN_BITRATE_BPS,
    MIN_QUEUE_CUT,
    QUEUE_CUT,
    QUEUE_EMPTY,
    QUEUE_GROWING,
    REBUILD_SHARE,
    REPORT_LASTS_S,
    RISE_INTERVAL_S,
    RISE_PER_S,
    RISE_STEP,
)
from orchestrator.video.encoder import BITRATE_BPS


@dataclass(frozen=True, slots=True)
class Bitrate:
    """The target of one session's stream."""

    target_bps: int = BITRATE_BPS
    adapted: bool = False
    """True once anything is known of the client's network; before, JPEG keeps its quality."""
    updated_s: float = 0.0
    cut_s: float = -CUT_INTERVAL_S
    cut_fill: float = 0.0
    """The queue at the last cut."""
    reported_bps: float = math.inf
    """What the last report allows at most."""
    reported_s: float = -math.inf


def after_report(
    bitrate: Bitrate, bandwidth_kbps: float | None, packet_loss: float | None, now: float
) -> Bitrate:
    """The target after a client's report; `packet_loss` is a share 0..1, and either figure may be
    missing.
    """
    target = (
        _risen(bitrate, now)
        if bandwidth_kbps is None
        else BANDWIDTH_SHARE * 1000.0 * bandwidth_kbps
    )
    if packet_loss is not None and packet_loss > LOSS_HEAVY:
        target = min(target, float(bitrate.target_bps)) * (1.0 - 0.5 * packet_loss)
    elif packet_loss is not None and packet_loss > LOSS_IGNORED:
        target = min(target, float(bitrate.target_bps))
    speaks_for_limit = bandwidth_kbps is not None or (
        packet_loss is not None and packet_loss > LOSS_IGNORED
    )
    most = _limited(target) if speaks_for_limit else math.inf
    return replace(
        bitrate,
        target_bps=_limited(target),
        adapted=True,
        updated_s=now,
        reported_bps=most,
        reported_s=now,
    )


def after_queue(
    bitrate: Bitrate, fill: float, now: float, coded_bps: float = 0.0, carried_bps: float = math.inf
) -> Bitrate:
    """Target after a measurement of the outbox's `fill`, 0..1: a growing queue cuts it, an empty
    one raises it.

    `coded_bps` is the recent rate of the encoded stream, 0 if unknown: a cut starts from it, not
    from the target. `carried_bps` is the rate at which frames left.
    """
    if fill >= QUEUE_GROWING:
        return _after_growth(bitrate, fill, now, coded_bps, carried_bps)
    if not bitrate.adapted or bitrate.target_bps >= MAX_BITRATE_BPS:
        return bitrate
    if fill > QUEUE_EMPTY:
        return replace(bitrate, updated_s=now)
    return _after_ease(bitrate, now)


def _after_growth(
    bitrate: Bitrate, fill: float, now: float, coded_bps: float, carried_bps: float
) -> Bitrate:
    if now - bitrate.cut_s < (CUT_INTERVAL_S if fill >= bitrate.cut_fill else DRAIN_S):
        return bitrate
    before = min(coded_bps or math.inf, bitrate.target_bps if bitrate.adapted else math.inf)
    before = before if math.isfinite(before) else bitrate.target_bps
    target = _cut(before, carried_bps)
    if target >= before:
        return bitrate
    return replace(
        bitrate,
        target_bps=_limited(target),
        adapted=True,
        updated_s=now,
        cut_s=now,
        cut_fill=fill,
    )


def _after_ease(bitrate: Bitrate, now: float) -> Bitrate:
    if now - bitrate.updated_s < RISE_INTERVAL_S:
        return bitrate
    most = bitrate.reported_bps if now - bitrate.reported_s < REPORT_LASTS_S else math.inf
    if bitrate.target_bps >= most:
        return bitrate
    target_bps = _limited(min(most, RISE_STEP * bitrate.target_bps))
    return replace(bitrate, target_bps=target_bps, updated_s=now)


def moved(built_for_bps: int, bitrate: Bitrate) -> bool:
    """True if an encoder built for one target must be rebuilt for the present one."""
    return abs(bitrate.target_bps - built_for_bps) > REBUILD_SHARE * built_for_bps


def _risen(bitrate: Bitrate, now: float) -> float:
    return float(bitrate.target_bps * RISE_PER_S ** min(10.0, max(0.0, now - bitrate.updated_s)))


def _cut(before_bps: float, carried_bps: float) -> float:
    if math.isinf(carried_bps):
        return QUEUE_CUT * before_bps
    return max(
        MIN_QUEUE_CUT * before_bps,
        min(QUEUE_CUT * before_bps, BANDWIDTH_SHARE * carried_bps),
        DRAIN_SHARE * carried_bps,
    )


def _limited(target_bps: float) -> int:
    return round(min(MAX_BITRATE_BPS, max(MIN_BITRATE_BPS, target_bps)))
