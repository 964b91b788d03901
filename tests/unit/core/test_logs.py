"""Lines carry the ids of their session and turn, in text and as JSON, and of no other task's."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from typing import Any

import pytest
from aiohttp.http_exceptions import InvalidURLError

from orchestrator.core.logs import configure_logging, session_logged

logger = logging.getLogger("orchestrator.test")


def lines(log_format: str) -> list[str]:
    stream = io.StringIO()
    configure_logging(log_format, stream)

    async def speak(session: str, turn: str) -> None:
        with session_logged(session, turn):
            await asyncio.sleep(0)
            logger.info("%s frames", 3)

    async def script() -> None:
        await asyncio.gather(speak("session-1", "turn-001"), speak("session-2", ""))
        logger.info("nobody's")
        logging.getLogger("some.library").info("chatter")

    asyncio.run(script())
    return stream.getvalue().splitlines()


@pytest.mark.usefixtures("root_as_it_was")
def test_text_lines_show_the_ids_in_brackets() -> None:
    ends = [line.split(" INFO ")[1] for line in lines("text")]
    assert ends == [
        "orchestrator.test [session-1 turn-001]: 3 frames",
        "orchestrator.test [session-2]: 3 frames",
        "orchestrator.test: nobody's",
    ]


@pytest.mark.usefixtures("root_as_it_was")
def test_json_lines_are_objects_with_ids_and_time() -> None:
    first, second, third = (json.loads(line) for line in lines("json"))
    assert (first["sessionId"], first["turnId"], first["message"], first["level"]) == (
        "session-1",
        "turn-001",
        "3 frames",
        "INFO",
    )
    assert (second["sessionId"], "turnId" in second, "sessionId" in third) == (
        "session-2",
        False,
        False,
    )
    assert first["time"].endswith("Z")


@pytest.mark.usefixtures("root_as_it_was")
def test_nothing_from_outside_begins_a_line() -> None:
    stream = io.StringIO()
    configure_logging("text", stream)
    logger.info("no model %s", "x\n2026-01-01 ERROR all faces were deleted\x1b[2J\u2028")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith(r"no model x\x0a2026-01-01 ERROR all faces were deleted\x1b[2J\u2028")


@pytest.mark.usefixtures("root_as_it_was")
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_aiohttp_refuses_is_logged_by_its_kind(log_format: str) -> None:
    stream = io.StringIO()
    configure_logging(log_format, stream)
    refusal = InvalidURLError("Invalid char in url query: b'GET /v1/health?access_token=secret'")
    logging.getLogger("aiohttp.server").error(
        "Error handling request from %s", "127.0.0.1", exc_info=refusal
    )
    (line,) = stream.getvalue().splitlines()
    assert "Error handling request from 127.0.0.1: InvalidURLError" in line
    assert "secret" not in line


@pytest.mark.usefixtures("root_as_it_was")
def test_a_traceback_stays_in_its_line() -> None:
    stream = io.StringIO()
    configure_logging("json", stream)
    try:
        raise ValueError("a bug")
    except ValueError:
        logger.exception("failed")
    (line,) = stream.getvalue().splitlines()
    told: dict[str, Any] = json.loads(line)
    assert "ValueError: a bug" in told["error"]
