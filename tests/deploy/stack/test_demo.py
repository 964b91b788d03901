"""The demo by its one command: the page behind the gateway, without a token, on loopback alone."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import pytest
from compose_stack import Stack, compose_stack
from container_engine import Engine

from orchestrator.client import connect


@pytest.fixture(scope="module")
def demo(images: Engine) -> Iterator[Stack]:
    """The demo, healthy."""
    with compose_stack(images, "compose.demo.yaml", settings={}) as stack:
        stack.up("--build")
        yield stack


def test_the_page_is_behind_the_gateway(demo: Stack) -> None:
    with urllib.request.urlopen(demo.url) as page:
        assert b"<html" in page.read()
    (gateway,) = demo.containers("gateway")
    assert {
        binding["HostIp"]
        for bindings in gateway["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    } == {"127.0.0.1"}


async def test_the_demo_face_speaks_without_a_token(demo: Stack) -> None:
    async with connect(demo.url) as client:
        frames = [
            frame
            async for frame in client.session(user="demo", face="demo", size=128)
            .say(bytes(32_000))
            .frames()
        ]
    assert [frame.sequence_number for frame in frames] == list(range(20))
