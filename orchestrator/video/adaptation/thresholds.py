"""All thresholds of the adaptation to a slow client or model, in one table.

Fill is that of the session's outbox, 0..1. As it rises, three measures set in, the mildest first:

| fill | measure | constants |
|---|---|---|
| 0.25 | lower bitrate, at once | `QUEUE_GROWING`, `QUEUE_CUT` |
| 0.5 | lower frame rate, after 1 s | `QUEUE_OVERLOADED`, `OVERLOADED`, `FALL_AFTER_S` |
| 0.75 | skip every second frame, at 0.875 two of three | `QUEUE_SPARED`, `LIGHT`, `HEAVY` |

A model that is too slow lowers the frame rate, never the bitrate. Thresholds by which a slow model
is benched are those of `pipeline.slow_model_policy`. `tests/unit/video/adaptation` tests the order.
"""

from __future__ import annotations

from typing import Final

# Bitrate

MIN_BITRATE_BPS: Final = 100_000
MAX_BITRATE_BPS: Final = 2_000_000
"""Limits of the target bitrate, from the specification."""

BANDWIDTH_SHARE: Final = 0.9
"""Share of a reported bandwidth that frames use; the rest carries the messages around them."""

LOSS_IGNORED: Final = 0.02
LOSS_HEAVY: Final = 0.10
"""Shares of lost packets: the rate may rise up to the first, and falls above the second.

G. Carlucci et al., "Analysis and design of the Google congestion control for WebRTC", 2016,
section 3.
"""

RISE_PER_S: Final = 1.08
"""Growth of the target per second between reports without loss and without a bandwidth."""

QUEUE_GROWING: Final = 0.25
"""Fill from which the client receives less than it is sent: 0.75 s at 20 frames/s by default. A
healthy client's queue is shorter: a batch of four frames, or the 0.5 s by which a burst may lead.
"""

QUEUE_CUT: Final = 0.7
MIN_QUEUE_CUT: Final = 0.35
DRAIN_SHARE: Final = 0.5
"""A growing queue cuts the rate to the first share, or to the rate that the network carries, but
not below the second share. It keeps the third share of what the network carries: the other half
drains the queue.
"""

CUT_INTERVAL_S: Final = 0.5
DRAIN_S: Final = 2.0
"""Interval of cuts while the queue grows, and while it shrinks: what is queued was encoded before
the last cut.
"""

QUEUE_EMPTY: Final = 0.1
"""Fill below which the rate may rise."""

RISE_STEP: Final = 1.2
RISE_INTERVAL_S: Final = 2.0
"""An empty queue raises the rate by the first factor after each of the second: every step begins
with a keyframe.
"""

REPORT_LASTS_S: Final = 10.0
"""Time for which an empty queue does not raise the rate above the last report."""

REBUILD_SHARE: Final = 0.1
"""An encoder is rebuilt only for a target that moved by more than this share."""

# Frame rate

REDUCED_SHARE: Final = 0.75
MIN_REDUCED_FPS: Final = 15.0
"""The reduced frame rate is the first share of the requested one, and not below the second: 15 of
20 frames/s.
"""

OVERLOADED: Final = 0.9
RELAXED: Final = 0.6
"""Load above which the frame rate falls, and below which it rises. The gap is wider than the relief
of the reduced rate, so that the rate does not oscillate.
"""

QUEUE_OVERLOADED: Final = 0.5
"""Fill that counts as the load `OVERLOADED`."""

TOLERATED_LATENESS_S: Final = 2.0
"""Lateness up to which a slow model keeps all frames: short turns stay whole."""

MAX_RELIEVED_LOAD: Final = 1.5
"""Load of a model from which a reduced frame rate does not help: a GPU model on a CPU is late with
fewer frames as well.
"""

FALL_AFTER_S: Final = 1.0
RISE_AFTER_S: Final = 3.0
"""Time for which the load must last before the frame rate falls, and before it rises."""

# Frame skipping

QUEUE_SPARED: Final = 0.5
"""Fill up to which no frame is skipped; congestion is the rest of the fill, 0..1."""

LIGHT: Final = 0.5
HEAVY: Final = 0.75
"""Congestion from which every second frame is skipped, and from which two of three are."""

# JPEG budget

MAX_STILL_MS: Final = 500.0
"""Longest time that a picture stands for lack of bits: below two a second speech is not visible."""

OVERDRAWN_S: Final = 0.1
"""Seconds of the target that may be owed before a picture is left out: the encoder needs a few
pictures to find its quality.
"""

MAX_OWED_S: Final = 0.5
"""Most seconds of the target that are owed: frames sent before the target fell must not freeze the
picture.
"""
