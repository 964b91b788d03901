"""Names in `triton_url`: looked up off the loop, again and again; a resolver in trouble changes
nothing.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from closed_port import closed_port
from ready_models import Served

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.inference import InferenceError
from orchestrator.inference.model_contract import ModelContract, Repository, read_repository
from orchestrator.inference.triton import discovery, external_server
from orchestrator.inference.triton.addresses import addresses_of, is_name, joined, split_url
from orchestrator.inference.triton.discovery import Discovery
from orchestrator.inference.triton.external_server import ExternalServer
from orchestrator.inference.triton.inference import TritonInference

WINDOW = {"mel": np.zeros((1, 88, 80), np.float32)}
NOTHING = Repository(Path("nowhere"), {})


@pytest.fixture(autouse=True)
def _quick_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "LOOKUP_INTERVAL_S", 0.01)


class Answers:
    """A resolver whose answers a test changes: addresses by name, or an error."""

    def __init__(self, **found: Any) -> None:
        self.found = found
        self.asked = 0

    async def __call__(self, host: str) -> list[str]:
        self.asked += 1
        found = self.found[host]
        if isinstance(found, Exception):
            raise found
        return list(found)


class Following:
    """A discovery with what it retired."""

    def __init__(self, urls: list[str], answers: Any, repository: Repository = NOTHING) -> None:
        self.retired: list[str] = []
        self.discovery = Discovery(urls, repository, answers, self._retire)

    def _retire(self, server: ExternalServer) -> None:
        self.retired.append(server.url)

    def urls(self) -> list[str]:
        return sorted(server.url for server in self.discovery.servers)

    async def __aenter__(self) -> Following:
        await self.discovery.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.discovery.stop()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60.0):
        while not true():  # noqa: ASYNC110 - lookups set no events
            await asyncio.sleep(0.005)


async def test_every_address_of_a_name_is_a_server_and_an_address_is_one_by_itself() -> None:
    answers = Answers(triton=["127.0.0.2", "::1"])
    async with Following(["127.0.0.9:1", "triton:1", "[::1]:2"], answers) as following:
        assert following.urls() == ["127.0.0.2:1", "127.0.0.9:1", "[::1]:1", "[::1]:2"]
        by_url = {server.url: server for server in following.discovery.servers}
        assert by_url["[::1]:1"].metrics_url == "http://[::1]:8002/metrics"
        assert (by_url["[::1]:1"].name, by_url["[::1]:2"].name) == ("triton:1", "")


async def test_servers_follow_the_answers() -> None:
    answers = Answers(triton=["127.0.0.2", "127.0.0.3"])
    async with Following(["triton:1"], answers) as following:
        answers.found["triton"] = ["127.0.0.3", "127.0.0.4"]
        await until(lambda: following.urls() == ["127.0.0.3:1", "127.0.0.4:1"])
        assert following.retired == ["127.0.0.2:1"]


async def test_servers_stay_until_those_that_replace_them_are_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(external_server, "TIMEOUT_S", 60.0)
    monkeypatch.setattr(external_server, "POLL_S", 0.01)
    old = Served("127.0.0.2")
    old.models.ready = {"tpsm"}
    old_url = old.start()
    new = Served("127.0.0.3", old.port)
    new_url = new.start()
    answers = Answers(triton=["127.0.0.2"])
    async with Following(
        [f"triton:{old.port}"],
        answers,
        Repository(Path("nowhere"), {"tpsm": cast(ModelContract, None)}),
    ) as following:
        answers.found["triton"] = ["127.0.0.3"]
        await until(lambda: following.urls() == [old_url, new_url])
        asked = answers.asked
        await until(lambda: answers.asked > asked + 2)
        assert following.urls() == [old_url, new_url]
        new.models.ready = {"tpsm"}
        await until(lambda: following.urls() == [new_url])
    for each in (old, new):
        each.stop()


async def test_an_address_that_two_names_share_is_one_server_until_neither_has_it() -> None:
    answers = Answers(a=["127.0.0.2"], b=["127.0.0.2"])
    async with Following(["a:1", "b:1"], answers) as following:
        assert following.urls() == ["127.0.0.2:1"]
        answers.found["a"] = ["127.0.0.3"]
        await until(lambda: following.urls() == ["127.0.0.2:1", "127.0.0.3:1"])
        answers.found["b"] = ["127.0.0.3"]
        await until(lambda: following.urls() == ["127.0.0.3:1"])


async def test_a_name_that_does_not_resolve_yet_is_one_warning_and_is_asked_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = Answers(triton=socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    with caplog.at_level(logging.INFO, logger=discovery.__name__):
        async with Following(["triton:1"], answers) as following:
            await until(lambda: answers.asked > 5)
            assert (following.urls(), following.discovery.unresolved) == ([], ["triton:1"])
            answers.found["triton"] = ["127.0.0.2"]
            await until(lambda: following.urls() == ["127.0.0.2:1"])
    (told,) = [record for record in caplog.records if record.name == discovery.__name__]
    assert told.levelname == "WARNING"
    assert told.getMessage().startswith(
        "triton_url: triton:1 does not resolve ([Errno -2] Name or service not known)"
    )


async def test_a_resolver_that_fails_later_leaves_the_servers_that_there_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = Answers(triton=["127.0.0.2"])
    with caplog.at_level(logging.WARNING, logger=discovery.__name__):
        async with Following(["triton:1"], answers) as following:
            answers.found["triton"] = socket.gaierror(
                socket.EAI_AGAIN, "Temporary failure in name resolution"
            )
            asked = answers.asked
            await until(lambda: answers.asked > asked + 3)
            assert (following.urls(), following.retired) == (["127.0.0.2:1"], [])
    assert "its last addresses are used" in caplog.text


async def test_a_resolver_that_hangs_is_given_up_and_asked_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(discovery, "LOOKUP_TIMEOUT_S", 0.02)
    asked = 0

    async def hang(host: str) -> list[str]:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        return []

    async with Following(["triton:1"], hang):
        await until(lambda: asked > 3)
    assert "triton_url: triton:1 does not resolve (no answer in 0.02 s)" in caplog.text


async def test_a_request_before_the_name_resolves_names_it() -> None:
    answers = Answers(triton=socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    async with TritonInference(
        ["triton:8001"], read_repository(MODEL_REPOSITORY), resolve=answers
    ) as inference:
        assert not await inference.ready("tpsm")
        with pytest.raises(InferenceError, match="no address yet for triton:8001") as raised:
            await inference.infer(
                "audio2motion", WINDOW, deadline=asyncio.get_running_loop().time() + 5
            )
    assert raised.value.code is LipSyncErrorCode.MODEL_LOAD_FAILED


async def test_a_name_behind_a_proxy_is_left_to_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("grpc_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    with closed_port() as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        answers = Answers(near=["127.0.0.2"])
        monkeypatch.setenv("no_proxy", "near")
        async with Following(["far.example:1", "near:1"], answers) as following:
            assert following.urls() == ["127.0.0.2:1", "far.example:1"]


async def test_the_systems_resolver_answers_from_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_in: list[threading.Thread] = []
    look_up = socket.getaddrinfo

    def watched(*arguments: Any, **options: Any) -> Any:
        asked_in.append(threading.current_thread())
        return look_up(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", watched)
    assert await addresses_of("localhost") in (["127.0.0.1"], ["::1"])
    assert threading.main_thread() not in asked_in
    assert asked_in[0].daemon
    with pytest.raises(socket.gaierror):
        await addresses_of("no-such-host.invalid")
    with pytest.raises(UnicodeError):
        await addresses_of("a" * 70)


async def test_a_name_with_both_families_counts_by_ipv4_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    v4, v6 = (
        (socket.AF_INET, 1, 6, "", ("10.0.0.2", 0)),
        (socket.AF_INET6, 1, 6, "", ("fd00::2", 0, 0, 0)),
    )
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [v6, v4, v4])
    assert await addresses_of("both") == ["10.0.0.2"]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [v6])
    assert await addresses_of("six") == ["fd00::2"]


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [("gpu1:8001", "gpu1", "8001"), ("10.0.0.1:80", "10.0.0.1", "80"), ("[::1]:80", "::1", "80")],
)
def test_an_address_is_taken_apart_and_joined_again(url: str, host: str, port: str) -> None:
    assert split_url(url) == (host, port)
    assert joined(host, port) == url
    assert is_name(host) == (host == "gpu1")
