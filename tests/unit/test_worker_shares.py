"""What workers share out: the port, the sessions, the folder of their counts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from orchestrator.app import build_app
from orchestrator.config import ConfigError, ServiceConfig
from orchestrator.http_context import CONFIG, SERVICE, Share
from orchestrator.inference import Inference
from orchestrator.inference.local import LocalInference
from orchestrator.inference.repository import Repository
from orchestrator.metrics import SHARED_FOLDER
from orchestrator.workers import reserved_port, shared_metrics


def test_a_port_that_another_program_has_is_refused_even_if_it_would_share_it() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(OSError), reserved_port("127.0.0.1", other.getsockname()[1]):
            pass


def test_a_reserved_port_takes_no_connections_but_those_who_share_it_may_listen() -> None:
    with reserved_port("127.0.0.1", 0) as port, socket.socket() as client:
        client.settimeout(1.0)
        with pytest.raises(ConnectionRefusedError):
            client.connect(("127.0.0.1", port))
        with socket.socket() as first, socket.socket() as second:
            for each in (first, second):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                each.bind(("127.0.0.1", port))
                each.listen()


@pytest.mark.parametrize(("sessions", "each"), [(100, [100]), (100, [50, 50]), (100, [34, 33, 33]), (4, [1, 1, 1, 1])])
def test_workers_take_as_many_sessions_together_as_the_operator_allows(sessions: int, each: list[int]) -> None:
    config = ServiceConfig(max_concurrent_sessions=sessions, workers=len(each))
    apps = [build_app(config, nothing, Share(number, len(each))) for number in range(len(each))]
    assert [app[SERVICE].config.max_concurrent_sessions for app in apps] == each
    assert {app[CONFIG].max_concurrent_sessions for app in apps} == {sessions}


@asynccontextmanager
async def nothing() -> AsyncIterator[Inference]:
    async with LocalInference(Repository(Path(), {})) as inference:
        yield inference


def test_the_folder_of_the_counts_is_gone_afterwards() -> None:
    with shared_metrics():
        folder = Path(os.environ[SHARED_FOLDER])
        assert folder.is_dir()
    assert SHARED_FOLDER not in os.environ
    assert not folder.exists()


KILLED = """
import os, signal
from pathlib import Path
from orchestrator.metrics import SHARED_FOLDER
from orchestrator.workers import shared_metrics
with shared_metrics():
    (Path(os.environ[SHARED_FOLDER]) / "counter_1.db").touch()
    print(os.environ[SHARED_FOLDER], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_service_left_of_its_counts_is_removed_by_the_next_start_and_a_living_ones_is_not() -> None:
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    run = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, env=env)
    assert run.returncode == -signal.SIGKILL, run.stderr
    left = Path(run.stdout.strip())
    assert (left / "counter_1.db").exists()
    with shared_metrics():
        living = Path(os.environ[SHARED_FOLDER])
        with shared_metrics():
            assert living.is_dir()
        os.environ[SHARED_FOLDER] = str(living)
    assert not left.exists()


@pytest.mark.parametrize(("settings", "message"), [({"workers": 0}, "workers cannot be 0"), ({"log_format": "xml"}, "text or json")])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ServiceConfig(**settings)  # type: ignore[arg-type]
