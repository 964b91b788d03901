"""Which JPEG pictures a target pays for: where the lowest quality is still too dear, fewer are
sent. Pure: time is the media's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

LONGEST_STILL_MS: Final = 500.0
"""No picture stands longer than this for want of bits: below two a second nobody sees speech."""

OVERDRAWN_S: Final = 0.1
"""Seconds of the target that may be owed before a picture is left out: the coder's quality needs a
few pictures to settle.
"""

OWED_S: Final = 0.5
"""Most that is owed; what was sent before the target fell need not be paid for by a frozen picture.
"""


class Budget:
    """Pictures are bought on credit, and the target pays; what it does not need is not saved."""

    def __init__(self) -> None:
        self._left_bits = 0.0
        self._at_ms: float | None = None
        self._picture_bits = 0.0
        """Of the last picture: what the next one is expected to take."""

    def affordable(self, timestamps_ms: Sequence[float], target_bps: int) -> list[int]:
        """Places of the pictures to be coded, whose slots begin at these times, in order."""
        left, at_ms, places = self._left_bits, self._at_ms, []
        for place, timestamp_ms in enumerate(timestamps_ms):
            if at_ms is None or timestamp_ms < at_ms:
                filled = 0.0  # another turn's clock
            else:
                filled = _filled(left, timestamp_ms - at_ms, target_bps)
                if filled < -OVERDRAWN_S * target_bps and timestamp_ms - at_ms < LONGEST_STILL_MS:
                    continue
            places.append(place)
            left, at_ms = filled - self._picture_bits, timestamp_ms
        return places

    def spend(self, timestamp_ms: float, bits: int, target_bps: int | None) -> None:
        """A picture of `bits` was coded; without a target nothing is owed."""
        known = self._at_ms is not None and timestamp_ms >= self._at_ms and target_bps is not None
        filled = (
            _filled(self._left_bits, timestamp_ms - (self._at_ms or 0.0), target_bps or 0)
            if known
            else 0.0
        )
        self._left_bits = filled - bits if target_bps is not None else 0.0
        self._at_ms, self._picture_bits = timestamp_ms, float(bits)


def _filled(left_bits: float, passed_ms: float, target_bps: int) -> float:
    return min(0.0, max(-OWED_S * target_bps, left_bits) + target_bps * passed_ms / 1000.0)
