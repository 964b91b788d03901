"""Bit budget of JPEG: where the lowest quality exceeds the target, fewer pictures are sent.

No clock is read: time is the media's, in milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.video.adaptation.thresholds import MAX_OWED_S, MAX_STILL_MS, OVERDRAWN_S


class Budget:
    """Debt of the stream: pictures add bits, and the target pays them off; credit is not saved."""

    def __init__(self) -> None:
        self._left_bits = 0.0
        self._at_ms: float | None = None
        self._picture_bits = 0.0
        """Size of the last picture, the estimate for the next one."""

    def affordable(self, timestamps_ms: Sequence[float], target_bps: int) -> list[int]:
        """Places of the pictures to be coded, whose slots begin at these times, in order."""
        left, at_ms, places = self._left_bits, self._at_ms, []
        for place, timestamp_ms in enumerate(timestamps_ms):
            if at_ms is None or timestamp_ms < at_ms:
                filled = 0.0  # another turn's clock
            else:
                filled = _filled(left, timestamp_ms - at_ms, target_bps)
                if filled < -OVERDRAWN_S * target_bps and timestamp_ms - at_ms < MAX_STILL_MS:
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
    return min(0.0, max(-MAX_OWED_S * target_bps, left_bits) + target_bps * passed_ms / 1000.0)
