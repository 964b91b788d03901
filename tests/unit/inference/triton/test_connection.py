"""Channels go through the proxies of the environment as gRPC's convention says, and never to reach
this host.
"""

from __future__ import annotations

import pytest

from orchestrator.inference.triton.connection import is_loopback, proxy_of


@pytest.fixture(autouse=True)
def proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3129")


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8001", "127.8.0.1:8001", "[::1]:8001", "localhost:8001"]
)
def test_this_host_is_reached_directly(url: str) -> None:
    assert is_loopback(url)
    assert proxy_of(url) == ""


def test_another_host_is_reached_through_the_first_proxy_that_is_set() -> None:
    assert not is_loopback("gpu1.example:8001")
    assert proxy_of("gpu1.example:8001") == "https_proxy"


def test_a_host_that_is_to_be_spared_is_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "elsewhere.example, .internal")
    assert proxy_of("gpu1.internal:8001") == ""
    assert proxy_of("gpu1.example:8001") == "https_proxy"
