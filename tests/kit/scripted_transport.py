"""Transport that records what a client session sends: no socket, no service, virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from orchestrator.client import ClientSession, LipSyncClientError
from orchestrator.client.messages import decode
from orchestrator.protocol import WireConfig


@dataclass
class ScriptedTransport:
    """Stands in for the client; `deliver` passes messages of the service to a session."""

    sent: list[dict[str, Any]] = field(default_factory=list)
    attached: dict[str, ClientSession] = field(default_factory=dict)
    failure: LipSyncClientError | None = None
    is_binary: bool = False
    is_connected: bool = True
    """False while messages are lost."""

    def attach(self, session: ClientSession) -> None:
        self.attached[session.id] = session

    def detach(self, session: ClientSession) -> None:
        self.attached.pop(session.id, None)

    async def send(self, message: str | bytes) -> bool:
        if self.is_connected:
            self.sent.append(msgspec.json.decode(message))
        return self.is_connected

    async def reconnect(self) -> None:
        raise AssertionError("one process has every session")

    def session(self) -> ClientSession:
        """A session over this transport."""
        return ClientSession(self, "session-1", "demo", "demo", None, WireConfig())

    async def deliver(self, session: ClientSession, kind: str, **fields: Any) -> None:
        """Pass a message of the service to that session."""
        message = decode(
            msgspec.json.encode({"type": kind, "sessionId": session.id, **fields}).decode()
        )
        assert message is not None
        await session.receive(message)

    async def refuse(
        self, session: ClientSession, code: str, *, recoverable: bool, **details: Any
    ) -> None:
        """Pass an error of the service to that session."""
        await self.deliver(
            session,
            "error",
            errorCode=code,
            errorMessage="no",
            recoverable=recoverable,
            details=details,
        )

    def chunks(self) -> list[tuple[str, int]]:
        """Turn and number of every chunk, in the order in which they were sent."""
        return [
            (message["turnId"], message["audioChunk"]["sequenceNumber"])
            for message in self.of("lipsync_audio")
        ]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The sent messages of one type."""
        return [message for message in self.sent if message["type"] == kind]

    def kinds(self) -> list[str]:
        """The types of the sent messages, in order."""
        return [message["type"] for message in self.sent]
