"""Browser client on a real socket: turns given up or refused while a connection is lost."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser_client import run_client
from instances import RESTING
from playwright.sync_api import Page
from serving import serve

SPOKEN_ON = 140
"""Chunks of 100 ms, two turns of which the service still keeps: neither is over before the
connection is back, however slow the machine.
"""

TURN_OF_FIVE_MS = set(range(0, 500, 50))
"""Times at which the frames of five chunks are to be shown."""

RECORDED = """
const said = [], sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...address) {
    super(...address);
    sockets.push(this);
  }
  send(data) {
    said.push(typeof data === "string" ? JSON.parse(data) : unpackMessage(data.buffer)[0]);
    super.send(data);
  }
};
const frames = [], ends = [];
client.addEventListener("frame", ({ detail }) => frames.push(detail));
client.addEventListener("end", ({ detail }) => ends.push([detail.turnId, detail.interrupted]));
// Any code but 1000 leaves the sessions waiting, as a connection that broke does.
const lose = async (meanwhile) => {
  const away = next("connection", ({ state }) => state === "waiting");
  sockets.at(-1).close(4000);
  await away;
  said.length = 0;
  meanwhile();
};
const receive = (message) =>
  sockets.at(-1).dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) }));
const refuse = (sessionId, errorCode, recoverable) =>
  receive({ type: "error", sessionId, errorCode, errorMessage: "no", recoverable, details: {} });
const outline = () => said.map(({ type, turnId }) => [type, turnId]);
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a service that needs no Triton: its faces rest, on the same wire."""
    with serve(tmp_path_factory.mktemp("storage"), *RESTING) as (url, _process):
        yield f"{url}/"


@pytest.fixture
def run(page: Page, service: str) -> Callable[[str], Any]:
    """Runs a script beside a client whose messages, sockets, frames and ends are recorded."""
    return functools.partial(run_client, page, service, RECORDED)


def test_a_turn_interrupted_while_the_connection_is_away_makes_room_for_the_next_one(
    run: Callable[[str], Any],
) -> None:
    heard = run(
        f"""
        speak({SPOKEN_ON});
        await next("frame");
        await lose(() => {{ client.interrupt(); speak(5); }});
        await next("end", ({{ turnId }}) => turnId === "turn-002");
        const spoken = frames.some(({{ turnId }}) => turnId === "turn-002");
        return {{ said: outline(), ends, spoken }};
        """,
    )
    audio = [["lipsync_audio", "turn-002"]] * 5 + [["end_utterance", None]]
    assert heard["said"] == [["resume_session", "turn-002"], ["interruption", "turn-001"], *audio]
    assert heard["ends"] == [["turn-001", True], ["turn-002", False]]
    assert heard["spoken"]


def test_two_turns_interrupted_while_the_connection_is_away_are_both_given_up(
    run: Callable[[str], Any],
) -> None:
    heard = run(
        f"""
        speak({SPOKEN_ON});
        speak({SPOKEN_ON});
        await next("frame");
        await lose(() => client.interrupt());
        await next("resumed");
        const given_up = outline();
        speak(5);
        await next("end", ({{ turnId }}) => turnId === "turn-003");
        return {{ given_up, ends, waited: frames.some(({{ turnId }}) => turnId === "turn-002") }};
        """,
    )
    assert heard["given_up"] == [
        ["resume_session", None],
        ["interruption", "turn-001"],
        ["interruption", "turn-002"],
    ]
    assert heard["ends"] == [["turn-001", True], ["turn-003", False]]
    assert not heard["waited"]


def test_an_interruption_that_was_lost_with_the_connection_is_said_again(
    run: Callable[[str], Any],
) -> None:
    heard = run(
        f"""
        speak({SPOKEN_ON});
        await next("frame");
        const lost = lose(() => speak(5));
        client.interrupt();
        const unheard = said.filter(({{ type }}) => type === "interruption").length;
        await lost;
        await next("end", ({{ turnId }}) => turnId === "turn-002");
        return {{ unheard, ends }};
        """,
    )
    assert heard == {"unheard": 0, "ends": [["turn-001", True], ["turn-002", False]]}


def test_a_turn_refused_for_good_is_not_said_again_after_a_lost_connection(
    run: Callable[[str], Any],
) -> None:
    heard = run(
        f"""
        speak(3, "nobody");
        await next("problem");
        const turnId = speak({SPOKEN_ON});
        await next("frame");
        await lose(() => null);
        const {{ openTurns }} = await next("resumed");
        const sent = said.map((message) => [message.type, message.turnId === turnId]);
        return {{ problems, said: sent, openTurns: openTurns.length }};
        """,
    )
    assert heard == {
        "problems": ["FACE_MODEL_NOT_FOUND"],
        "said": [["resume_session", True]],
        "openTurns": 1,
    }


@pytest.mark.parametrize(
    ("code", "recoverable"), [("VIDEO_GENERATION_FAILED", False), ("SESSION_LIMIT", True)]
)
def test_nothing_is_said_to_a_session_that_ended_by_an_error_but_its_end(
    run: Callable[[str], Any], code: str, recoverable: bool
) -> None:
    heard = run(
        f"""
        speak({SPOKEN_ON});
        await next("frame");
        const before = client.sessionId;
        said.length = 0;
        refuse(before, "{code}", {str(recoverable).lower()});
        client.report({{ avOffsetMs: 1 }});
        client.interrupt();
        client.endUtterance();
        const taken = client.sendAudio(new Int16Array(1600));
        const toWhom = said.map(({{ type, sessionId }}) => [type, sessionId === before]);
        return {{ problems, taken, said: toWhom, isAnother: client.sessionId !== before }};
        """,
    )
    assert heard == {
        "problems": [code],
        "taken": False,
        "said": [["end_session", True]],
        "isAnother": True,
    }


def test_the_turn_begun_after_a_refusal_is_spoken_whatever_else_is_said_of_the_refused_one(
    run: Callable[[str], Any],
) -> None:
    heard = run(
        """
        const before = client.sessionId;
        client.addEventListener("problem", () => speak(5), { once: true });
        speak(3, "nobody");
        await next("problem");
        refuse(before, "FACE_MODEL_NOT_FOUND", false);
        await next("end");
        return { problems, ends, spoken: frames.map(({ mediaMs }) => mediaMs) };
        """,
    )
    assert (heard["problems"], heard["ends"]) == (["FACE_MODEL_NOT_FOUND"], [["turn-001", False]])
    assert 0 in heard["spoken"]
    assert set(heard["spoken"]) <= TURN_OF_FIVE_MS


def test_an_error_that_the_session_survives_leaves_its_turn_going(
    run: Callable[[str], Any],
) -> None:
    heard = run(
        """
        speak(5);
        refuse(client.sessionId, "INVALID_MESSAGE", true);
        await next("end");
        return { problems, ends };
        """,
    )
    assert heard == {"problems": ["INVALID_MESSAGE"], "ends": [["turn-001", False]]}


def test_a_session_left_while_it_is_being_resumed_ends(run: Callable[[str], Any]) -> None:
    heard = run(
        f"""
        speak({SPOKEN_ON});
        await next("frame");
        const before = client.sessionId;
        await lose(() => null);
        await next("connection", ({{ state }}) => state === "open");
        client.newSession();
        speak(5);
        await next("end");
        const first = said.slice(0, 2);
        const sent = first.map(({{ type, sessionId }}) => [type, sessionId === before]);
        return {{ said: sent, problems, ends }};
        """,
    )
    assert heard == {
        "said": [["resume_session", True], ["end_session", True]],
        "problems": [],
        "ends": [["turn-001", False]],
    }
