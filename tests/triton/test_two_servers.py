"""Two Tritons behind one service: they share the work, and one that dies under load costs nobody a
frame.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
from demo_face import demo_face
from serving import serve
from watched_server import ANSWER_S, until
from ws_client import connect, syllables

from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.triton.inference import TritonInference
from orchestrator.models.tpsm.adapter import Tpsm

SESSIONS = 8
TURN_S = 6.0
BUILT_IN = ("audio2motion", "tpsm", "tpsm_speech")


async def test_a_server_killed_under_load_costs_no_frame(
    make_repository: Callable[[], Path], tmp_path: Path
) -> None:
    first, second = make_repository(), make_repository()
    async with EmbeddedTriton(first, BUILT_IN) as doomed, EmbeddedTriton(second, BUILT_IN) as other:
        # a thread of its own starts the program: this loop has the servers to look after
        service = serve(tmp_path, "--triton-url", f"{doomed.url},{other.url}")
        url, _ = await asyncio.to_thread(service.__enter__)
        try:
            before = [await _executions(server) for server in (doomed, other)]
            turns = [
                asyncio.create_task(_turn(url, f"session-{number}")) for number in range(SESSIONS)
            ]
            for server, then in zip((doomed, other), before, strict=True):
                await until(lambda server=server, then=then: _was_asked(server, then))
            pid = doomed.health().pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            models = await asyncio.gather(*turns)
        finally:
            await asyncio.to_thread(service.__exit__, None, None, None)
    assert models == [{"tpsm"}] * SESSIONS


async def test_a_face_is_sent_to_every_server_that_is_there(
    make_repository: Callable[[], Path],
) -> None:
    face, paths = Tpsm().prepare(demo_face(), 128), (make_repository(), make_repository())
    (request,) = Tpsm().introduction(face).values()
    picture = {name: request[name] for name in ("motion", "face")}
    async with (
        EmbeddedTriton(paths[0], BUILT_IN) as first,
        EmbeddedTriton(paths[1], BUILT_IN) as second,
        TritonInference([first, second], read_repository(paths[0])) as inference,
    ):
        assert (
            await inference.infer_everywhere("tpsm", request, deadline=time.monotonic() + ANSWER_S)
            == 2
        )
        for _ in range(4):  # in turns
            await inference.infer("tpsm", picture, deadline=time.monotonic() + ANSWER_S)
        doomed = first.health().pid
        assert doomed is not None
        os.kill(doomed, signal.SIGKILL)
        assert (
            await inference.infer_everywhere("tpsm", request, deadline=time.monotonic() + ANSWER_S)
            == 1
        )


async def _turn(url: str, session: str) -> set[str]:
    """The models that drew a turn without a hole."""
    async with connect(url) as client:
        speaking = asyncio.create_task(
            client.speak(syllables(TURN_S), session=session, real_time=True)
        )
        await client.until("response_end")
        await speaking
    frames = client.frames(session=session)
    assert [frame["sequenceNumber"] for frame in frames] == list(range(round(TURN_S * 20)))
    return {frame["model"] for frame in frames}


async def _was_asked(server: EmbeddedTriton, executions: float) -> bool:
    """Since it had made so many executions."""
    return await _executions(server) > executions


async def _executions(server: EmbeddedTriton) -> float:
    async with aiohttp.ClientSession() as http, http.get(server.metrics_url) as answer:
        lines = (await answer.text()).splitlines()
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in lines
        if line.startswith("nv_inference_exec_count{")
    )
