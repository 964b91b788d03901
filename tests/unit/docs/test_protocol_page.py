"""The examples of docs/protocol.md are what the code understands and says."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from project_root import ROOT

from orchestrator import protocol
from orchestrator.core.errors import LipSyncErrorCode

PAGE = (ROOT / "docs" / "protocol.md").read_text()


def _examples() -> list[str]:
    found = []
    for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL):
        decoder, rest = json.JSONDecoder(), block.strip()
        while rest:
            _, end = decoder.raw_decode(rest)
            found.append(rest[:end])
            rest = rest[end:].strip()
    return found


EXAMPLES = _examples()
FROM_CLIENT = [text for text in EXAMPLES if json.loads(text)["type"] in protocol.MESSAGE_TYPES]
FROM_SERVER = [text for text in EXAMPLES if text not in FROM_CLIENT]


@pytest.mark.parametrize("text", FROM_CLIENT, ids=lambda text: json.loads(text)["type"])
def test_a_client_may_send_the_example(text: str) -> None:
    message = protocol.parse(text)
    if isinstance(message, protocol.WireAudio):
        protocol.audio_request(message)


@pytest.mark.parametrize("text", FROM_SERVER, ids=lambda text: json.loads(text)["type"])
def test_the_server_says_exactly_the_example(text: str) -> None:
    message = msgspec.json.decode(text, type=protocol.ServerMessage, dec_hook=protocol.record_value)
    assert json.loads(protocol.dump(message)) == json.loads(text)


def test_every_message_has_an_example() -> None:
    types = {json.loads(text)["type"] for text in EXAMPLES}
    answers = {
        "response_start",
        "response_video",
        "response_end",
        "model_switched",
        "poster",
        "session_resumed",
        "session_warning",
        "error",
    }
    assert types == {*protocol.MESSAGE_TYPES, *answers}


def test_every_error_code_is_named() -> None:
    assert all(f"`{code.value}`" in PAGE for code in LipSyncErrorCode)
