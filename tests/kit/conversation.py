"""One live session with scripted models in virtual time, and everything that left it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from fakes import ScriptedAdapter, ScriptedInference, pcm_chunk, scripted_service
from virtual_time import run_virtual

from orchestrator.audio.codecs.decoder import estimated_duration_s
from orchestrator.core.channel import ChannelClosedError
from orchestrator.core.types import AudioChunk, LipSyncModel, VideoGenerationConfig
from orchestrator.pipeline.session_events import InboxItem, Outgoing, OutgoingFrame
from orchestrator.pipeline.session_state import Session
from orchestrator.sessions.turn_tracker import TurnCounter
from orchestrator.sessions.worker import SessionWorker

T = TypeVar("T")
TPSM, STATIC = LipSyncModel.TPSM, LipSyncModel.STATIC


@dataclass
class Conversation:
    """A live session, its scripted models, and everything that left it with the time it left."""

    tpsm: ScriptedAdapter = field(default_factory=lambda: ScriptedAdapter(TPSM, grey=200))
    static: ScriptedAdapter = field(
        default_factory=lambda: ScriptedAdapter(STATIC, grey=50, ahead_frames=0)
    )
    inference: ScriptedInference = field(default_factory=lambda: ScriptedInference({"tpsm"}))
    sent: list[tuple[float, Outgoing]] = field(default_factory=list)
    config: VideoGenerationConfig = field(default_factory=VideoGenerationConfig)
    inbox_ms: float = 30_000.0
    others: tuple[ScriptedAdapter, ...] = ()
    """Models between the two, in no order of their own."""

    def __post_init__(self) -> None:
        adapters = {adapter.model: adapter for adapter in (self.tpsm, *self.others, self.static)}
        self.service = scripted_service(adapters, self.inference)
        self.session = Session("session-1", "user-1", inbox_ms=self.inbox_ms, outbox_frames=60)
        self.live = SessionWorker(self.session, self.service, pacing_lead_s=0.5)
        self.turns = TurnCounter()
        self.sequence_number = 0

    async def say(
        self,
        chunk: AudioChunk | None = None,
        *,
        turn_id: str | None = None,
        face: str | None = "face-1",
    ) -> None:
        chunk = chunk or pcm_chunk(
            sequence_number=self.sequence_number, timestamp_ms=5000.0 + 100.0 * self.sequence_number
        )
        self.sequence_number += 1
        if self.turns.chunk(turn_id, chunk.sequence_number):
            await self.live.accept(self._item(chunk, face))

    async def end(self) -> None:
        item = self._item(None, None)
        if self.turns.end():
            await self.live.accept(item)

    async def interrupt(self, turn_id: str | None = None) -> None:
        ordinal = await self.live.interrupt(turn_id)
        if ordinal is not None:
            self.turns.interrupt(ordinal)

    async def talk(self, chunks: int) -> None:
        for _ in range(chunks):
            await asyncio.sleep(0.1)
            await self.say()

    def _item(self, chunk: AudioChunk | None, face: str | None) -> InboxItem:
        now = asyncio.get_running_loop().time()
        duration_ms = 1000.0 * estimated_duration_s(chunk) if chunk else 0.0
        return InboxItem(
            self.turns.ordinal, self.turns.turn_id, self.config, face, chunk, now, duration_ms
        )

    async def run(self, script: Callable[[Conversation], Awaitable[None]]) -> None:
        probes = asyncio.create_task(self.service.probe_failed_models())
        send = asyncio.create_task(self._send())
        work = asyncio.create_task(self.live.work())
        await script(self)
        await self.session.audio.inbox.close()
        await work
        await send
        probes.cancel()
        await asyncio.wait([probes])

    async def _send(self) -> None:
        while True:
            try:
                out = await self.session.delivery.outbox.get()
            except ChannelClosedError:
                return
            await self.leave(out)

    async def leave(self, out: Outgoing) -> None:
        """One thing goes to the client: at once, over a network that costs no time."""
        self.sent.append((asyncio.get_running_loop().time(), out))

    def of(self, kind: type[T]) -> list[T]:
        return [out for _, out in self.sent if isinstance(out, kind)]

    def frames(self) -> list[OutgoingFrame]:
        return self.of(OutgoingFrame)


def play(
    script: Callable[[Conversation], Awaitable[None]], conversation: Conversation | None = None
) -> Conversation:
    conversation = conversation or Conversation()
    run_virtual(conversation.run(script))
    return conversation


async def two_seconds(conversation: Conversation) -> None:
    await conversation.talk(20)
    await conversation.end()
