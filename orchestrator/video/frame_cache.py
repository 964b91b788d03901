"""Cache of generated pictures.

Sessions of one face that say the same, or are silent alike, share them for a while.
"""

from __future__ import annotations

import sys
from collections.abc import Hashable, Sequence
from typing import Final

from orchestrator.core.cache import LruCache
from orchestrator.core.types import RgbImage

MAX_CACHE_BYTES: Final = 64 * 1024 * 1024
"""Cache size: 15 s of one face at 256 pixels and 20 frames a second."""

MAX_CACHE_FRAMES: Final = 4096


class FrameCache:
    """Read-only pictures by content key. Reads no clock: `now` is monotonic seconds."""

    def __init__(self, ttl_s: float, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._frames: LruCache[Hashable, RgbImage] = LruCache(
            max_items=MAX_CACHE_FRAMES,
            max_bytes=max_bytes,
            size_of=lambda image: image.nbytes,
            ttl_s=ttl_s,
        )
        self._seen: LruCache[Hashable, bool] = LruCache(
            max_items=MAX_CACHE_FRAMES, max_bytes=sys.maxsize, size_of=lambda _: 0, ttl_s=ttl_s
        )

    def get(self, keys: Sequence[Hashable], now: float) -> list[RgbImage] | None:
        """Pictures of a batch, or None where one of them is missing."""
        found = []
        for key in keys:
            image = self._frames.get(key, now=now)
            if image is None:
                return None
            found.append(image)
        return found

    def put(self, keys: Sequence[Hashable], images: Sequence[RgbImage], now: float) -> None:
        """Store a generated batch; a picture is kept from its second occurrence on."""
        for key, image in zip(keys, images, strict=True):
            if self._seen.get(key, now=now) is None:
                self._seen.put(key, True, now=now)
                continue
            kept = image.copy()  # a view would keep its whole batch alive
            kept.flags.writeable = False
            self._frames.put(key, kept, now=now)
