"""A turn's newest audio, kept to be sent again after a lost connection."""

from __future__ import annotations

from collections import deque
from typing import Final

from orchestrator import protocol

KEPT_S: Final = 30.0
"""As much as the service lets wait, however long the chunks are."""


class KeptAudio:
    """Chunks in order, numbered from 0, with their audio; beyond the limit the oldest go."""

    def __init__(self, bytes_per_second: int) -> None:
        self._most_bytes = round(KEPT_S * bytes_per_second)
        self._chunks: deque[tuple[protocol.WireAudioChunk, bytes]] = deque()
        self._bytes = 0
        self.has_all = True
        """Whether nothing of the turn had to go."""

    def add(self, chunk: protocol.WireAudioChunk, audio: bytes) -> None:
        """One more chunk."""
        self._chunks.append((chunk, audio))
        self._bytes += len(audio)
        while self._bytes > self._most_bytes:
            self._bytes -= len(self._chunks.popleft()[1])
            self.has_all = False

    def since(self, number: int) -> list[tuple[protocol.WireAudioChunk, bytes]]:
        """The chunks from this number on, as far as they are here."""
        return [(chunk, audio) for chunk, audio in self._chunks if chunk.sequence_number >= number]

    def clear(self) -> None:
        """They will not be needed again."""
        self._chunks.clear()
        self._bytes = 0
        self.has_all = False
