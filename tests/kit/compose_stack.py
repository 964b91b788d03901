"""Stack of docker-compose.yml in the tests' own engine, on stand-ins for public base images."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from container_engine import Engine, checked
from deploy_tools import DEPLOY, ROOT, tool

TOKEN: Final = "a-token-of-the-tests"
STAND_INS: Final = DEPLOY / "standin" / "standin.env"
LOOK_S: Final = 0.2
ANSWER_S: Final = 10.0


class Stack:
    """A Compose project."""

    def __init__(self, engine: Engine, files: tuple[str, ...], settings: Mapping[str, str]) -> None:
        self.engine = engine
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        options = [option for file in files for option in ("--file", str(ROOT / file))]
        self._command = [
            tool("docker-compose"),
            "--env-file",
            str(STAND_INS),
            "--project-name",
            "lipsync-test",
            *options,
        ]
        self._environment = engine.environment | {"GATEWAY_PORT": str(self.port), **settings}

    def compose(self, *arguments: str) -> str:
        """Standard output of a `docker compose` command that has to succeed."""
        return checked([*self._command, *arguments], self._environment)

    def up(self, *arguments: str) -> None:
        """Start services, those of `arguments` or all, and wait until they are healthy."""
        self.compose("up", "--detach", "--wait", *arguments)

    def containers(self, service: str) -> list[dict[str, Any]]:
        """What `docker inspect` says of each container of a service."""
        ids = self.compose("ps", "--all", "--quiet", service).split()
        found: list[dict[str, Any]] = json.loads(self.engine.docker("inspect", *ids)) if ids else []
        return found

    def address(self, container: Mapping[str, Any]) -> str:
        """An IP address of a container that runs now, reachable from this machine."""
        (fresh,) = json.loads(self.engine.docker("inspect", container["Id"]))
        found: str = next(
            network["IPAddress"] for network in fresh["NetworkSettings"]["Networks"].values()
        )
        return found

    def metric(
        self, container: Mapping[str, Any], name: str, port: int = 8002, label: str = ""
    ) -> float:
        """Sum of the samples of a container's own metrics whose line begins with `name` and holds
        `label`.
        """
        with urllib.request.urlopen(
            f"http://{self.address(container)}:{port}/metrics", timeout=ANSWER_S
        ) as page:
            lines = page.read().decode().splitlines()
        return sum(
            float(line.split()[-1]) for line in lines if line.startswith(name) and label in line
        )

    def execute(self, container: Mapping[str, Any], *command: str) -> str:
        """Standard output of a command inside of a container."""
        return self.engine.docker("exec", container["Id"], *command).strip()


@contextmanager
def compose_stack(engine: Engine, *files: str, settings: Mapping[str, str]) -> Iterator[Stack]:
    """A project that is not started yet; removed at the end with its volumes. Stopping waits for
    nobody.
    """
    stack = Stack(engine, files or ("docker-compose.yml",), settings)
    try:
        yield stack
    finally:
        stack.compose("--profile", "*", "down", "--volumes", "--timeout", "5")


def until(holds: Callable[[], bool], patience_s: float = 120.0) -> None:
    """Wait for what other machines bring about; AssertionError when it has not come by then."""
    deadline_s = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline_s, f"it has not come within {patience_s:.0f} s"
        threading.Event().wait(LOOK_S)


def free_port() -> int:
    """A TCP port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port
