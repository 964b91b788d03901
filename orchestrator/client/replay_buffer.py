"""Replay buffer: a turn's newest audio, sent again after a lost connection."""

from __future__ import annotations

from collections import deque
from typing import Final

from orchestrator import protocol

REPLAY_S: Final = 30.0
"""Audio to keep; the service's inbox holds as much, however long the chunks are."""


class ReplayBuffer:
    """Numbered chunks with their audio; beyond the limit the oldest are evicted."""

    def __init__(self, bytes_per_second: int) -> None:
        """Keep `REPLAY_S` seconds of audio at this rate."""
        self._max_bytes = round(REPLAY_S * bytes_per_second)
        self._chunks: deque[tuple[protocol.WireAudioChunk, bytes]] = deque()
        self._bytes = 0
        self.is_complete = True
        """False once a chunk was evicted or the buffer was cleared."""

    def add(self, chunk: protocol.WireAudioChunk, audio: bytes) -> None:
        """Append a chunk and evict the oldest ones beyond the limit."""
        self._chunks.append((chunk, audio))
        self._bytes += len(audio)
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._chunks.popleft()[1])
            self.is_complete = False

    def since(self, number: int) -> list[tuple[protocol.WireAudioChunk, bytes]]:
        """The chunks from this number on that are still in the buffer."""
        return [(chunk, audio) for chunk, audio in self._chunks if chunk.sequence_number >= number]

    def clear(self) -> None:
        """Evict everything; the turn is over."""
        self._chunks.clear()
        self._bytes = 0
        self.is_complete = False
