"""The Python client's session over a line that only writes down what was said: no socket, no
service, virtual time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

from orchestrator.client import ClientSession, LipSyncClientError
from orchestrator.client.messages import read
from orchestrator.protocol import WireConfig


@dataclass
class ScriptedLine:
    """Stands in for the client; `tell` speaks as the service."""

    said: list[dict[str, Any]] = field(default_factory=list)
    carried: dict[str, ClientSession] = field(default_factory=dict)
    failure: LipSyncClientError | None = None
    is_binary: bool = False
    is_there: bool = True
    """Whether messages pass."""

    def carry(self, session: ClientSession) -> None:
        self.carried[session.id] = session

    def drop(self, session: ClientSession) -> None:
        self.carried.pop(session.id, None)

    async def send(self, message: str | bytes) -> bool:
        if self.is_there:
            self.said.append(msgspec.json.decode(message))
        return self.is_there

    async def call_again(self) -> None:
        raise AssertionError("one process has every session")

    def session(self) -> ClientSession:
        """A conversation over this line."""
        return ClientSession(self, "session-1", "demo", "demo", None, WireConfig())

    async def tell(self, session: ClientSession, kind: str, **fields: Any) -> None:
        """A message of the service to that session."""
        message = read(
            msgspec.json.encode({"type": kind, "sessionId": session.id, **fields}).decode()
        )
        assert message is not None
        await session.take(message)

    async def refuse(
        self, session: ClientSession, code: str, *, recoverable: bool, **details: Any
    ) -> None:
        """An error of the service to that session."""
        await self.tell(
            session,
            "error",
            errorCode=code,
            errorMessage="no",
            recoverable=recoverable,
            details=details,
        )

    def chunks(self) -> list[tuple[str, int]]:
        """Turn and number of every chunk, in the order in which they were said."""
        return [
            (message["turnId"], message["audioChunk"]["sequenceNumber"])
            for message in self.of("lipsync_audio")
        ]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What was said of one type."""
        return [message for message in self.said if message["type"] == kind]

    def kinds(self) -> list[str]:
        """The types of what was said."""
        return [message["type"] for message in self.said]
