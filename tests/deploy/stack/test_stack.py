"""The stack as an operator starts it: healthy, without privileges, and speaking through the
gateway.
"""

from __future__ import annotations

import urllib.error
import urllib.request

import aiohttp
import numpy as np
import pytest
import simplejpeg
import skimage.data
from compose_stack import TOKEN, Stack

from orchestrator.client import connect
from orchestrator.core.paths import SAMPLES

SERVICES = {"gateway": 1, "orchestrator": 2, "triton": 1}
HELLO = SAMPLES / "hello.wav"
FRAMES_OF_HELLO = 110

WITHOUT_CAPABILITIES = "0000000000000000"


def status(url: str, token: str = "") -> int:
    """The HTTP status of a GET."""
    request = urllib.request.Request(
        url, headers={"Authorization": f"Bearer {token}"} if token else {}
    )
    try:
        with urllib.request.urlopen(request) as answer:
            code: int = answer.status
            return code
    except urllib.error.HTTPError as refusal:
        return refusal.code


@pytest.mark.parametrize("service", SERVICES)
def test_every_container_is_healthy_and_has_no_privilege(stack: Stack, service: str) -> None:
    containers = stack.containers(service)
    assert len(containers) == SERVICES[service]
    for container in containers:
        assert container["State"]["Health"]["Status"] == "healthy"
        assert container["HostConfig"]["ReadonlyRootfs"] is True
        assert container["HostConfig"]["Memory"] > 0
        assert container["HostConfig"]["NanoCpus"] > 0
        process = dict(
            line.split(":\t", 1)
            for line in stack.execute(container, "cat", "/proc/self/status").splitlines()
            if ":\t" in line
        )
        assert process["Uid"].split()[0] != "0"
        assert process["CapEff"] == process["CapBnd"] == WITHOUT_CAPABILITIES
        assert process["NoNewPrivs"] == "1"


@pytest.mark.parametrize("service", ["orchestrator", "triton"])
def test_only_the_gateway_is_published(stack: Stack, service: str) -> None:
    for container in stack.containers(service):
        assert not any(container["NetworkSettings"]["Ports"].values())


async def test_a_greeting_comes_through_the_gateway_without_a_hole(stack: Stack) -> None:
    async with connect(stack.url, TOKEN) as client:
        turn = client.session(user="demo", face="demo").say_wav(HELLO)
        numbers = [frame.sequence_number async for frame in turn.frames()]
    assert numbers == list(range(FRAMES_OF_HELLO))
    assert turn.metrics is not None


def test_metrics_stay_behind_the_gateway(stack: Stack) -> None:
    assert status(f"{stack.url}/metrics", TOKEN) == 403


def test_a_wrong_token_is_refused_and_the_page_is_served(stack: Stack) -> None:
    assert status(f"{stack.url}/v1/models", "wrong") == 401
    assert status(f"{stack.url}/v1/models", TOKEN) == 200
    assert status(stack.url) == 200


def test_who_tries_tokens_is_stopped_for_a_while(stack: Stack) -> None:
    refusals = [status(f"{stack.url}/v1/models", f"guess-{number}") for number in range(70)]
    assert refusals[:50] == [401] * 50
    assert refusals[-1] == 429
    stack.compose("restart", "--timeout", "5", "gateway")
    stack.up("--no-recreate")


def test_the_log_of_the_gateway_holds_no_token(stack: Stack) -> None:
    assert status(f"{stack.url}/v1/models?access_token=secret-of-a-browser") == 401
    log = stack.compose("logs", "--no-log-prefix", "gateway")
    assert "GET /v1/models 401" in log
    assert "secret-of-a-browser" not in log


def test_a_face_that_one_orchestrator_stores_is_seen_by_the_other(stack: Stack) -> None:
    first, second = stack.containers("orchestrator")
    stack.execute(
        first,
        "sh",
        "-c",
        "mkdir -p /var/lib/lipsync/probe && echo kept > /var/lib/lipsync/probe/file",
    )
    assert stack.execute(second, "cat", "/var/lib/lipsync/probe/file") == "kept"


def test_another_orchestrator_is_taken_without_a_restart(stack: Stack) -> None:
    stack.up("--scale", "orchestrator=3", "--no-recreate")
    gateway = stack.containers("gateway")[0]
    ask = "exec 3<>/dev/tcp/127.0.0.1/8404; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"
    up = 'haproxy_backend_active_servers{proxy="orchestrators"} 3'
    wait = f"until ({ask}) | grep -qF '{up}'; do sleep 0.2; done"
    stack.execute(gateway, "timeout", "60", "bash", "-c", wait)
    stack.up("--scale", "orchestrator=2", "--no-recreate")


async def test_a_photo_sent_through_the_gateway_becomes_a_face(stack: Stack) -> None:
    form = aiohttp.FormData({"consent": "true", "id": "enrolled-in-a-container"})
    photo = simplejpeg.encode_jpeg(np.ascontiguousarray(skimage.data.astronaut()), 92)
    form.add_field("photo", photo, filename="photo.jpg", content_type="image/jpeg")
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        answer = await http.post(f"{stack.url}/v1/users/demo/face-models", data=form)
        assert answer.status == 201, await answer.text()
