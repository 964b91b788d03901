"""Isolation of sessions: a failure of one does not affect the others on its connection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from http_service import form, http_service, recording
from live_service import picture_of
from ws_client import connect, syllables

from orchestrator.core.channel import ChannelClosedError
from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER, face_prefix
from orchestrator.sessions.live_session import LiveSession

WRONG = {
    "same": lambda points: [point | {"x": 300.0, "y": 300.0} for point in points],
    "eyes": lambda points: [
        point | ({"x": 300.0, "y": 300.0} if index in (33, 133) else {})
        for index, point in enumerate(points)
    ],
    "huge": lambda points: [
        point | ({"x": 1e300, "y": -1e300} if index in (33, 133, 10) else {})
        for index, point in enumerate(points)
    ],
}


def enrol(storage: Path) -> None:
    """User `ann` has the demo portrait with wrong points, and with the right ones."""
    shipped = SHIPPED_FACES / face_prefix(DEMO_USER, DEMO_FACE)
    points = json.loads((shipped / "keypoints.json").read_text())
    for face, change in (WRONG | {"good": lambda points: points}).items():
        folder = storage / face_prefix("ann", face)
        folder.mkdir(parents=True)
        for file in shipped.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        (folder / "keypoints.json").write_text(json.dumps(change(points)))


async def test_they_speak_at_rest_and_a_session_beside_them_gets_every_frame(
    tmp_path: Path,
) -> None:
    enrol(tmp_path)
    async with http_service(tmp_path) as url, connect(url) as client:
        for face in ("good", *WRONG):
            await client.speak(syllables(1.0), session=face, userId="ann", faceModelId=face)
        for _ in range(4):
            await client.until("response_end")
        assert [message for message in client.received if message["type"] == "error"] == []
        for face in WRONG:
            frames = client.frames(session=face)
            assert (
                [frame["sequenceNumber"] for frame in frames],
                {frame["model"] for frame in frames},
            ) == (list(range(20)), {"static"})
            assert picture_of(frames[-1]).std() > 20.0, "a photo"
        good = client.frames(session="good")
        assert [frame["sequenceNumber"] for frame in good] == list(range(20))
        assert {frame["model"] for frame in good} == {"tpsm"}


@pytest.mark.parametrize("face", list(WRONG))
async def test_what_they_are_good_for_is_said_and_measured(tmp_path: Path, face: str) -> None:
    enrol(tmp_path)
    wanted: dict[str, Any] = {"userId": "ann", "faceModelId": face}
    async with http_service(tmp_path) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/v1/users/ann/face-models/{face}") as answer:
            described = await answer.json()
        async with http.post(
            f"{url}/v1/benchmark", data=form({"audio": recording(0.5)}, **wanted)
        ) as answer:
            tried = (
                answer.status,
                [result["model"] for result in (await answer.json())["results"]],
            )
        async with http.post(
            f"{url}/v1/render",
            data=form({"audio": recording(0.5)}, model="tpsm", size=128, **wanted),
        ) as answer:
            refused = (answer.status, (await answer.json())["errorCode"])
        async with http.post(
            f"{url}/v1/render",
            data=form({"audio": recording(0.5)}, model="static", size=128, **wanted),
        ) as answer:
            rendered = answer.status
    assert "tpsm" not in described["compatibleLipSyncModels"]
    assert {issue["code"] for issue in described["issues"]} <= {"FACE_NOT_FOUND", "EYES_NOT_FOUND"}
    assert (tried, refused, rendered) == ((200, ["static"]), (422, "FACE_MODEL_INCOMPATIBLE"), 200)


@pytest.mark.parametrize(
    "fault",
    [RuntimeError("nobody foresaw this"), ChannelClosedError()],
    ids=["a fault", "a session that is ending"],
)
async def test_a_message_that_cannot_be_handled_leaves_the_connection_to_the_others(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Exception,
) -> None:
    receive = LiveSession.receive

    async def stumble(self: LiveSession, *heard: Any) -> None:
        if self.session.id == "unlucky":
            raise fault
        await receive(self, *heard)

    monkeypatch.setattr(LiveSession, "receive", stumble)
    async with http_service(tmp_path) as url, connect(url) as client:
        await client.speak(syllables(0.5), session="innocent", end=False)
        await client.say(syllables(0.1), session="unlucky")
        await client.speak(syllables(0.5), session="innocent")
        await client.until("response_end", sessionId="innocent")
    told = [
        (message["sessionId"], message["errorCode"], message["recoverable"])
        for message in client.received
        if message["type"] == "error"
    ]
    foreseen = isinstance(fault, ChannelClosedError)
    assert told == ([] if foreseen else [("unlucky", "INTERNAL", False)])
    assert [record.levelname for record in caplog.records if record.exc_info] == (
        [] if foreseen else ["ERROR"]
    )
    assert len(client.frames(session="innocent")) == 20
