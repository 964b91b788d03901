"""A Docker Engine of the tests' own: private socket, folders and bridge; of its firewall rules and
bridges none is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from deploy_tools import DEBIAN, DEPLOY, stop, tool

NEEDED: Final = {
    "dockerd": "docker.io",
    "docker": "docker.io",
    "iptables": "iptables",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
}
"""Programs, and the Debian packages that bring them."""

BRIDGE: Final = "lipsync0"
SUBNET: Final = "10.91.0.1/24"
TABLES: Final = ("filter", "nat")

KEPT: Final = "24h"
"""Age up to which layers without a name stay: they are what the next build begins from."""

START_S: Final = 30.0
COMMAND_S: Final = 1800.0
"""Longest that one command of the engine may take: building an image on a slow network."""

LOWERED: Final = ("--default-ulimit=nofile=4096:4096", "--default-ulimit=nproc=4096:4096")
"""The engine asks for more than an unprivileged sandbox may grant."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A running engine."""

    host: str
    """As `DOCKER_HOST`."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables for programs that use the engine."""
        return os.environ | {"DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "0"}

    def docker(self, *arguments: str, stdin: str | None = None) -> str:
        """Standard output of a `docker` command that has to succeed."""
        return checked([tool("docker"), *arguments], self.environment, stdin=stdin)

    def build_stand_ins(self, cache: Path) -> None:
        """Make the base images of deploy/standin; `cache` keeps what they are made of."""
        checked(
            [str(DEPLOY / "standin" / "build.sh"), str(cache)],
            self.environment | {"LIPSYNC": tool("lipsync")},
        )


def checked(command: list[str], environment: dict[str, str], stdin: str | None = None) -> str:
    """Standard output of a program that has to succeed; its errors are in the failure."""
    done = subprocess.run(
        command,
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}{done.stderr[-6000:]}"
    return done.stdout


@contextmanager
def container_engine(folder: Path) -> Iterator[Engine]:
    """An engine with its images in `folder`. Skips the test where none can run beside what is
    there.
    """
    _skip_where_impossible()
    before = {table: _rules(table) for table in TABLES}
    forwarding = Path("/proc/sys/net/ipv4/ip_forward")
    forwarded, bridges = forwarding.read_text(), _bridges()
    try:
        _ip("link", "add", "name", BRIDGE, "type", "bridge")
        _ip("address", "add", SUBNET, "dev", BRIDGE)
        _ip("link", "set", BRIDGE, "up")
        with _running(folder) as engine:
            yield engine
    finally:
        for bridge in _bridges() - bridges:
            _ip("link", "delete", bridge)
        for table in TABLES:
            _restore(table, before[table])
            assert sorted(_rules(table)) == sorted(before[table])
        forwarding.write_text(forwarded)


def _skip_where_impossible() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start a Docker Engine")
    lacking = sorted(
        {package for program, package in NEEDED.items() if shutil.which(program) is None}
    )
    if lacking:
        pytest.skip(f"no Docker Engine can be started: {DEBIAN} {' '.join(lacking)}")
    if any("DOCKER" in rule for table in TABLES for rule in _rules(table)):
        pytest.skip(
            "another Docker Engine runs on this machine, whose firewall chains a "
            "second one would share"
        )


@contextmanager
def _running(folder: Path) -> Iterator[Engine]:
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()  # runc refuses a root file system behind a link
    engine = Engine(f"unix://{folder / 'docker.sock'}")
    command = [
        "dockerd",
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'dockerd.pid'}",
    ]
    with (folder / "dockerd.log").open("w") as log:
        process = subprocess.Popen(
            [*command, f"--host={engine.host}", f"--bridge={BRIDGE}", *LOWERED],
            stdout=log,
            stderr=log,
        )
    try:
        _await(engine, process, folder / "dockerd.log")
        yield engine
        _remove_containers(engine)
    finally:
        stop(process)
        for mount in (
            folder / "exec" / "netns" / "default",
            folder / "data",
        ):  # the engine leaves them
            subprocess.run(["umount", mount], capture_output=True, check=False)
        shutil.rmtree(folder / "exec")
        assert str(folder) not in Path("/proc/mounts").read_text()


def _await(engine: Engine, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        asked = subprocess.run(
            ["docker", "version"], env=engine.environment, capture_output=True, check=False
        )
        if asked.returncode == 0:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
    pytest.skip(f"the Docker Engine did not start: {log.read_text().splitlines()[-1:]}")


def _remove_containers(engine: Engine) -> None:
    if containers := engine.docker("ps", "--all", "--quiet").split():
        engine.docker("rm", "--force", "--volumes", *containers)
    engine.docker("network", "prune", "--force")
    engine.docker("volume", "prune", "--force")
    engine.docker("image", "prune", "--force", "--filter", f"until={KEPT}")  # layers of older trees


def _bridges() -> set[str]:
    return {entry.parent.name for entry in Path("/sys/class/net").glob("*/bridge")}


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _rules(table: str) -> list[str]:
    listed = subprocess.run(
        ["iptables", "--wait", "-t", table, "-S"], capture_output=True, text=True, check=False
    )
    return listed.stdout.splitlines()


def _restore(table: str, before: list[str]) -> None:
    """Take back what came since: rules, then chains, then policies."""
    added = [rule for rule in _rules(table) if rule not in before]
    for rule in (rule for rule in added if rule.startswith("-A")):
        _iptables(table, "-D" + rule[2:])
    for chain in (rule for rule in added if rule.startswith("-N")):
        _iptables(table, "-F" + chain[2:])
        _iptables(table, "-X" + chain[2:])
    for policy in (rule for rule in before if rule.startswith("-P")):
        _iptables(table, policy)


def _iptables(table: str, rule: str) -> None:
    subprocess.run(
        ["iptables", "--wait", "-t", table, *rule.split()], check=True, capture_output=True
    )
