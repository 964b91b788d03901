"""How many bits a client may be sent: from what it reports and from how its queue fills. Pure: time
is an argument.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

from orchestrator.video.encoder import BITRATE_BPS

MIN_BITRATE_BPS: Final = 100_000
MAX_BITRATE_BPS: Final = 2_000_000
"""The specification's limits."""

USED_SHARE: Final = 0.9
"""Of a reported bandwidth; the rest carries what surrounds the pictures."""

LOSS_IGNORED: Final = 0.02
LOSS_HEAVY: Final = 0.10
"""Shares of lost packets: up to the first the rate may rise, above the second it falls (G. Carlucci
et al., "Analysis and design of the Google congestion control for WebRTC", 2016, section 3).
"""

RISE_PER_S: Final = 1.08
"""Growth a second while nothing speaks against it and no bandwidth is known."""

FILLING_QUEUE: Final = 0.25
"""Fill of the outbox from which a client takes less than it is sent: 0.75 s of 20 frames a second
in the usual one. Beyond what a healthy one ever holds, a batch of four or the half second that a
burst may run ahead.
"""

QUEUE_CUT: Final = 0.7
DEEPEST_CUT: Final = 0.35
DRAINING: Final = 0.5
"""A filling queue cuts the rate to the first share, or further to what the network carries, at once
to the second at most; the third of what it carries is left in any case: with the other half the
queue drains.
"""

CUT_INTERVAL_S: Final = 0.5
DRAIN_S: Final = 2.0
"""A queue that still grows is cut again after the first; one that shrinks is given the second,
since what waits in it was coded before.
"""

EMPTY_QUEUE: Final = 0.1
"""Fill below which nothing speaks against a higher rate."""

RISE_STEP: Final = 1.2
RISE_INTERVAL_S: Final = 2.0
"""A rate that an empty queue lets rise grows by the first after each of the second: every step
begins with a keyframe.
"""

REPORT_LASTS_S: Final = 10.0
"""For so long an empty queue does not lift the rate above what the client reported."""

HYSTERESIS: Final = 0.1
"""An encoder is built anew only for a target that moved by more than this share."""


@dataclass(frozen=True, slots=True)
class Bitrate:
    """The target of one session's stream."""

    target_bps: int = BITRATE_BPS
    adapted: bool = False
    """Whether anything was ever heard of the client's network; until then JPEG keeps its quality. 
    """
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
        _risen(bitrate, now) if bandwidth_kbps is None else USED_SHARE * 1000.0 * bandwidth_kbps
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
    """The target after a look at the outbox, 0..1 full: a client that takes less than it is sent
    gets less, and in time more again.

    `coded_bps` is what the stream took of late, 0 if unknown: it is what has to shrink, whatever
    the target was. `carried_bps` is what left.
    """
    if fill >= FILLING_QUEUE:
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
    if not bitrate.adapted or bitrate.target_bps >= MAX_BITRATE_BPS:
        return bitrate
    if fill > EMPTY_QUEUE:
        return replace(bitrate, updated_s=now)
    if now - bitrate.updated_s < RISE_INTERVAL_S:
        return bitrate
    most = bitrate.reported_bps if now - bitrate.reported_s < REPORT_LASTS_S else math.inf
    if bitrate.target_bps >= most:
        return bitrate
    return replace(
        bitrate, target_bps=_limited(min(most, RISE_STEP * bitrate.target_bps)), updated_s=now
    )


def moved(built_for_bps: int, bitrate: Bitrate) -> bool:
    """Whether an encoder built for one target is too far from another."""
    return abs(bitrate.target_bps - built_for_bps) > HYSTERESIS * built_for_bps


def _risen(bitrate: Bitrate, now: float) -> float:
    return float(bitrate.target_bps * RISE_PER_S ** min(10.0, max(0.0, now - bitrate.updated_s)))


def _cut(before_bps: float, carried_bps: float) -> float:
    if math.isinf(carried_bps):
        return QUEUE_CUT * before_bps
    return max(
        DEEPEST_CUT * before_bps,
        min(QUEUE_CUT * before_bps, USED_SHARE * carried_bps),
        DRAINING * carried_bps,
    )


def _limited(target_bps: float) -> int:
    return round(min(MAX_BITRATE_BPS, max(MIN_BITRATE_BPS, target_bps)))
