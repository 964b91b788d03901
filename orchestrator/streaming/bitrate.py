"""How many bits a client may be sent: from what it reports and from how its queue fills. Pure: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from orchestrator.streaming.encoder import BITRATE_BPS

MIN_BITRATE_BPS: Final = 100_000
MAX_BITRATE_BPS: Final = 2_000_000
"""The specification's limits."""

USED_SHARE: Final = 0.9
"""Of a reported bandwidth; the rest carries what surrounds the pictures."""

LOSS_IGNORED: Final = 0.02
LOSS_HEAVY: Final = 0.10
"""Shares of lost packets: up to the first the rate may rise, above the second it falls (G. Carlucci et al., "Analysis and
design of the Google congestion control for WebRTC", 2016, section 3)."""

RISE_PER_S: Final = 1.08
"""Growth a second while nothing speaks against it and no bandwidth is known."""

FULL_QUEUE: Final = 0.5
QUEUE_CUT: Final = 0.7
"""A queue of frames filled beyond the first cuts the rate to this share, once in `CUT_INTERVAL_S`."""

CUT_INTERVAL_S: Final = 0.5

HYSTERESIS: Final = 0.1
"""An encoder is built anew only for a target that moved by more than this share."""


@dataclass(frozen=True, slots=True)
class Bitrate:
    """The target of one session's stream."""

    target_bps: int = BITRATE_BPS
    adapted: bool = False
    """Whether anything was ever heard of the client's network; until then JPEG keeps its quality."""
    updated_s: float = 0.0
    cut_s: float = -CUT_INTERVAL_S


def after_report(bitrate: Bitrate, bandwidth_kbps: float | None, packet_loss: float | None, now: float) -> Bitrate:
    """The target after a client's report; `packet_loss` is a share 0..1, and either figure may be missing."""
    target = _risen(bitrate, now) if bandwidth_kbps is None else USED_SHARE * 1000.0 * bandwidth_kbps
    if packet_loss is not None and packet_loss > LOSS_HEAVY:
        target = min(target, float(bitrate.target_bps)) * (1.0 - 0.5 * packet_loss)
    elif packet_loss is not None and packet_loss > LOSS_IGNORED:
        target = min(target, float(bitrate.target_bps))
    return replace(bitrate, target_bps=_limited(target), adapted=True, updated_s=now)


def after_queue(bitrate: Bitrate, fill: float, now: float) -> Bitrate:
    """The target after a look at the outbox, 0..1 full: a client that takes less than it is sent gets less."""
    if fill < FULL_QUEUE or now - bitrate.cut_s < CUT_INTERVAL_S:
        return bitrate
    return replace(bitrate, target_bps=_limited(QUEUE_CUT * bitrate.target_bps), adapted=True, updated_s=now, cut_s=now)


def moved(built_for_bps: int, bitrate: Bitrate) -> bool:
    """Whether an encoder built for one target is too far from another."""
    return abs(bitrate.target_bps - built_for_bps) > HYSTERESIS * built_for_bps


def _risen(bitrate: Bitrate, now: float) -> float:
    return float(bitrate.target_bps * RISE_PER_S ** min(10.0, max(0.0, now - bitrate.updated_s)))


def _limited(target_bps: float) -> int:
    return round(min(MAX_BITRATE_BPS, max(MIN_BITRATE_BPS, target_bps)))
