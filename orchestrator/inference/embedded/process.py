"""The server as a process: launch, log tail, and a shutdown that leaves no process behind.

The standard library only; `launch` may run before numpy, gRPC or ONNX Runtime are imported.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from orchestrator.inference.embedded.environment import (
    BACKENDS,
    MODELS,
    check_temporary_folder,
    find_server,
    prepare_run_folder,
    server_environment,
)
from orchestrator.inference.embedded.run_lock import Lease, check_shared_memory, sweep_dead_runs

LOG = logging.getLogger(__name__)
LOG_LINES: Final = 200
"""Lines of the server's log that are kept for error messages."""

TABLES: Final = "+|"
"""First characters of the tables of models and options in the log, which explain no fault."""

STOPPED: Final = "T"
GONE: Final = "XZ"
"""Letters of `state_of`."""

LOADABLE: Final = frozenset({".onnx", ".py", ".plan"})
"""Suffixes of the files that make a version of a model; an exporter at work has others."""

ENSEMBLE: Final = 'platform: "ensemble"'
"""Line of a `config.pbtxt` that marks an ensemble.

Found without a parser, whose import takes as long as the server's start.
"""

GIVES_WAY: Final = 10
"""Niceness added to a backend process that has to yield the cores to the others.

It gets a tenth of their share under contention.
"""


@dataclass(frozen=True, slots=True)
class Ports:
    """Loopback ports of one server, kept over restarts so that clients reconnect automatically."""

    grpc: int
    metrics: int


def free_ports() -> Ports:
    """Pick two ports that are free now."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return Ports(first.getsockname()[1], second.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Stub:
    """A backend process: one instance of one model."""

    pid: int
    model: str


@dataclass
class ServerProcess:
    """A running `tritonserver` and the tail of its log."""

    popen: subprocess.Popen[bytes]
    server_id: str
    ports: Ports
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    _seen: set[Stub] = field(default_factory=set)

    @property
    def pid(self) -> int:
        """Process id of the server itself."""
        return self.popen.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code; None while the server runs."""
        return self.popen.poll()

    def tail(self, lines: int = 12) -> str:
        """The last lines of its log."""
        return "\n".join(list(self.lines)[-lines:])

    def stubs(self) -> tuple[Stub, ...]:
        """Its backend processes that are alive now."""
        stubs = stubs_below(self.pid)
        self._seen.update(stubs)
        return stubs

    def stubs_of(self, model: str) -> tuple[Stub, ...]:
        """The backend processes of one model."""
        return tuple(stub for stub in self.stubs() if stub.model == model)

    def kill(self) -> None:
        """Kill the server and its backend processes; blocks for some milliseconds.

        A graceful shutdown takes three seconds, one per poll of the server, and never ends with a
        dead backend process. The server holds no state worth the wait. Its backend processes would
        outlive it for a while, stopped ones for ever.
        """
        self.stubs()
        self.popen.kill()
        self.popen.wait()
        kill_stubs(self._seen)


def launch(repository: Path, models: Sequence[str], lease: Lease, ports: Ports) -> ServerProcess:
    """Start a server that loads those of `models` that have their files.

    Call it from a thread that lives as long as the server: the kernel kills the server when that
    thread ends.
    """
    files = find_server()
    folder = lease.folder()
    prepare_run_folder(files, repository, folder)
    server_id = uuid.uuid4().hex
    launcher = Path(__file__).with_name("launcher.py")
    command = [sys.executable, "-I", "-S", str(launcher), str(os.getpid()), str(files.server)]
    popen = subprocess.Popen(
        command + _flags(lease.prefix, server_id, ports) + _load_flags(repository, models),
        cwd=folder,
        env=server_environment(files),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Ctrl-C goes to the orchestrator alone, which then ends the server
        start_new_session=True,
    )
    server = ServerProcess(popen, server_id, ports)
    assert popen.stdout is not None
    threading.Thread(
        target=_read_log, args=(popen.stdout, server.lines), name="triton log", daemon=True
    ).start()
    return server


@dataclass
class Launched:
    """A server that was started before its supervisor, while the program is still importing."""

    repository: Path
    models: tuple[str, ...]
    lease: Lease
    process: ServerProcess


def launch_early(repository: Path, models: Sequence[str]) -> Launched:
    """Start the server now; pass the result to `EmbeddedTriton`.

    Raises MODEL_LOAD_FAILED where the server cannot run.
    """
    sweep_dead_runs()
    check_shared_memory()
    check_temporary_folder()
    lease = Lease()
    try:
        return Launched(
            repository, tuple(models), lease, launch(repository, models, lease, free_ports())
        )
    except BaseException:
        lease.release()
        raise


def _flags(shm_prefix: str, server_id: str, ports: Ports) -> list[str]:
    return [
        f"--model-repository={MODELS}",
        f"--backend-directory={BACKENDS}",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        "--model-control-mode=explicit",
        "--disable-auto-complete-config",
        "--exit-on-error=false",
        "--exit-timeout-secs=3",  # for a shutdown by hand
        f"--id={server_id}",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={ports.grpc}",
        # tensors over HTTP cost a hundred times more, and open connections delay the shutdown
        "--allow-http=false",
        "--metrics-address=127.0.0.1",
        f"--metrics-port={ports.metrics}",
        "--allow-gpu-metrics=false",
        "--allow-cpu-metrics=false",
    ]


def _load_flags(repository: Path, models: Sequence[str]) -> list[str]:
    """Options for the models that have their files.

    Loading an ensemble later would reload its members, since Python has written bytecode beside
    them by then.
    """
    return [f"--load-model={name}" for name in models if _is_loadable(repository / name)]


def _is_loadable(folder: Path) -> bool:
    config = folder / "config.pbtxt"
    is_ensemble = config.is_file() and ENSEMBLE.encode() in config.read_bytes()
    return is_ensemble or any(file.suffix in LOADABLE for file in folder.glob("[0-9]*/model.*"))


def _read_log(stream: IO[bytes], lines: deque[str]) -> None:
    with stream:
        for raw in stream:
            line = raw.decode(errors="replace").rstrip()
            if line and line[0] not in TABLES:
                lines.append(line)
                LOG.debug("%s", line)


def stubs_below(pid: int) -> tuple[Stub, ...]:
    """The living backend processes of the server `pid`."""
    return tuple(stub for child in _children(pid) if (stub := _stub(child)) is not None)


def state_of(pid: int) -> str:
    """State letter of a process from the kernel; `X` if there is no such process.

    `R` running, `S` sleeping, `T` stopped, `Z` zombie.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "X"


def give_way(stubs: Iterable[Stub]) -> None:
    """Lower the priority of backend processes.

    Their models run on the thread that has the process's id.
    """
    niceness = os.getpriority(os.PRIO_PROCESS, 0) + GIVES_WAY
    for stub in stubs:
        with contextlib.suppress(OSError):  # it has just ended
            os.setpriority(os.PRIO_PROCESS, stub.pid, niceness)


def cpu_ticks(stubs: Iterable[Stub]) -> int:
    """CPU time that backend processes have used, in kernel ticks.

    It distinguishes a process that works on a long request from a hung one.
    """
    ticks = 0
    for stub in stubs:
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{stub.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(
                fields[12]
            )  # utime and stime; fields are counted from the state on
    return ticks


def memory_mb(stubs: Iterable[Stub]) -> dict[str, float]:
    """Private memory of each model's backend processes in MiB, without what they share."""
    held: dict[str, float] = {}
    for stub in stubs:
        with contextlib.suppress(OSError, IndexError, ValueError):  # it has just ended
            pages = [int(each) for each in Path(f"/proc/{stub.pid}/statm").read_text().split()]
            held[stub.model] = (
                held.get(stub.model, 0.0)
                + (pages[1] - pages[2]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            )
    return held


def kill_stubs(stubs: Iterable[Stub]) -> None:
    """Kill the processes whose pid was not reused, and wait up to a second for their end."""
    living = [stub for stub in stubs if _stub(stub.pid) == stub]
    for stub in living:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stub.pid, signal.SIGKILL)
    end = time.monotonic() + 1.0
    while time.monotonic() < end and any(state_of(stub.pid) not in GONE for stub in living):
        time.sleep(0.005)


def _children(pid: int) -> list[int]:
    """Children of all threads: the server starts each backend process from another thread."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def _stub(pid: int) -> Stub | None:
    """Parse a backend process's arguments: the last but one is `<model>_<group>_<instance>`."""
    with contextlib.suppress(OSError):
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
        if arguments[0].endswith(b"triton_python_backend_stub") and len(arguments) > 2:
            return Stub(pid, arguments[-2].decode().rsplit("_", 2)[0])
    return None
