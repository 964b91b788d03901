"""Logging as text lines or as JSON; each line of a session has its id and its turn's id.

Lines hold ids, codes, counts and addresses, never a client's audio, pictures or tokens. Text from
outside, such as a library's message, cannot start a new line.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, TextIO

TEXT: Final = "text"
JSON: Final = "json"

LINE: Final = "%(asctime)s %(levelname)s %(name)s%(ids)s: %(message)s"

CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160))} | {
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}
"""Escapes of the characters that end a line or move a terminal's cursor."""

_session: ContextVar[str] = ContextVar("session", default="")
_turn: ContextVar[str] = ContextVar("turn", default="")


@contextmanager
def session_logged(session_id: str, turn_id: str = "") -> Iterator[None]:
    """Add these ids to the lines logged within, and in tasks started there."""
    outer_session, outer_turn = _session.set(session_id), _turn.set(turn_id)
    try:
        yield
    finally:
        _turn.reset(outer_turn)
        _session.reset(outer_session)


class _Ids(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.session, record.turn = _session.get(), _turn.get()
        return True


class _Unquoted(logging.Filter):
    """Cuts aiohttp's errors to their type: their text may quote tokens of a URL or a header."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if (
            record.name.startswith("aiohttp.")
            and error is not None
            and type(error).__module__.startswith("aiohttp.")
        ):
            record.msg, record.args = "%s: %s", (record.getMessage(), type(error).__name__)
            record.exc_info = record.exc_text = None
        return True


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        ids = " ".join(
            each for each in (getattr(record, "session", ""), getattr(record, "turn", "")) if each
        )
        record.ids = f" [{ids}]" if ids else ""
        return super().format(record)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        return super().formatMessage(record).translate(CONTROLS)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "sessionId": getattr(record, "session", ""),
            "turnId": getattr(record, "turn", ""),
            "process": record.process,
            "error": self.formatException(record.exc_info) if record.exc_info else "",
        }
        return json.dumps({key: value for key, value in line.items() if value}, ensure_ascii=False)


def configure_logging(log_format: str = TEXT, stream: TextIO | None = None) -> logging.Handler:
    """Log from INFO on, libraries from WARNING on, to `stream` or else the standard error.

    Returns the handler, the root's only one.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(_Ids())
    handler.addFilter(_Unquoted())
    handler.setFormatter(_JsonFormatter() if log_format == JSON else _TextFormatter(LINE))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("orchestrator").setLevel(logging.INFO)
    return handler
