"""`lipsync serve` serves in the environments that people have, or says at once in a sentence why it
cannot.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiohttp
import pytest
from project_root import ROOT
from watched_server import until
from ws_client import connect, syllables

from orchestrator.core.downloads import TRITONSERVER, downloads_folder

pytestmark = pytest.mark.skipif(
    not TRITONSERVER.is_present(), reason="tritonserver is not fetched: lipsync fetch tritonserver"
)

SERVE = (sys.executable, "-m", "orchestrator", "serve", "--chunk-deadline-ms", "60000")
URL = re.compile(r"http://\S+:\d+")
SECONDS = 0.4
PATIENCE_S = 60.0

BASE = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("PYTHON") and not name.lower().endswith("_proxy")
}
PROXIES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")
C_LOCALE = {
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii",
}

STRANGE = "größe mit leer $(x) 'ü'"
"""Of a folder: blanks, letters beyond ASCII, and what a shell would read."""

NOBODY = (
    "setpriv",
    "--reuid=12345",
    "--regid=12345",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
)
"""A user without an entry in the passwd file, who may read everything, as on a machine whose
folders are open, and write nothing.
"""


def _can(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


mounting = pytest.mark.skipif(
    not _can("unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"),
    reason="mounts need the rights of root: run as root, in a container with SYS_ADMIN",
)
becoming_nobody = pytest.mark.skipif(
    not _can(*NOBODY, sys.executable, "-c", ""), reason="becoming another user takes root"
)


def shell(script: str) -> tuple[str, ...]:
    """A prefix of a command: it is run after these commands of a shell."""
    return ("bash", "-c", f'{script}; exec "$@"', "-")


def mounted(*mounts: str) -> tuple[str, ...]:
    """A prefix of a command: it sees these mounts, nobody else does."""
    return ("unshare", "--mount", *shell(" && ".join(f"mount {each}" for each in mounts)))


@contextmanager
def running(
    tmp_path: Path,
    environment: Mapping[str, str],
    *flags: str,
    prefix: Sequence[str] = (),
    cwd: Path = ROOT,
    stdout: int | None = None,
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The service in that environment and its log; ended as Ctrl+C ends it."""
    log = tmp_path / "serve.log"
    with log.open("w") as said:
        command = [*prefix, *SERVE, *flags]
        out = said if stdout is None else stdout
        process = subprocess.Popen(
            command, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=said
        )
    try:
        yield process, log
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert process.returncode == 0
    assert "Traceback" not in log.read_text()


@asynccontextmanager
async def serving(
    tmp_path: Path,
    environment: Mapping[str, str],
    *flags: str,
    prefix: Sequence[str] = (),
    cwd: Path = ROOT,
    stdout: int | None = None,
) -> AsyncIterator[str]:
    """The URL of a service on a free port, as it prints or logs it."""
    with running(
        tmp_path, environment, "--port", "0", *flags, prefix=prefix, cwd=cwd, stdout=stdout
    ) as (process, log):
        await until(lambda: URL.search(log.read_text()) or process.poll() is not None, PATIENCE_S)
        found = URL.search(log.read_text())
        assert found, log.read_text()
        yield found[0]


async def drawing_models(url: str) -> set[str]:
    """The models that drew a short turn, once the service says that it is ready."""
    async with aiohttp.ClientSession() as http:

        async def ready() -> bool:
            async with http.get(f"{url}/readyz") as answer:
                return answer.status == 200

        await until(ready, PATIENCE_S)
    async with connect(url, PATIENCE_S) as client:
        await client.speak(syllables(SECONDS))
        await client.until("response_end")
        return {frame["model"] for frame in client.frames()}


def refusal(
    tmp_path: Path, environment: Mapping[str, str], *, prefix: Sequence[str] = (), port: str = "0"
) -> str:
    """What the service says on the standard error as it ends."""
    command = [*prefix, *SERVE, "--port", port, "--storage", str(tmp_path)]
    run = subprocess.run(
        command,
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    assert "Traceback" not in run.stderr
    return run.stderr


async def test_behind_a_proxy_that_is_dead(tmp_path: Path) -> None:
    environment = BASE | {name: "http://127.0.0.1:9" for name in PROXIES}
    async with serving(tmp_path, environment) as url:
        assert await drawing_models(url) == {"tpsm"}


async def test_with_an_empty_environment(tmp_path: Path) -> None:
    async with serving(tmp_path, {}) as url:
        assert await drawing_models(url) == {"tpsm"}


async def test_with_the_checkout_and_the_temporary_folder_below_a_strange_name_and_no_locale(
    tmp_path: Path,
) -> None:
    strange = tmp_path / STRANGE
    for each in ("orchestrator", "model_repository"):
        shutil.copytree(ROOT / each, strange / each, ignore=shutil.ignore_patterns("__pycache__"))
    async with serving(
        tmp_path, BASE | C_LOCALE | {"TMPDIR": str(strange)}, "--storage", str(strange), cwd=strange
    ) as url:
        assert await drawing_models(url) == {"tpsm"}


async def test_with_variables_that_are_meant_for_others(tmp_path: Path) -> None:
    others = {
        "PYTHONPATH": f".:{tmp_path}",
        "LD_LIBRARY_PATH": f".:{tmp_path}",
        "PYTHONNOUSERSITE": "1",
        "PYTHONWARNINGS": "error",
    }
    async with serving(
        tmp_path, BASE | others | {"OMP_NUM_THREADS": "8", "TMPDIR": str(tmp_path / "nowhere")}
    ) as url:
        assert await drawing_models(url) == {"tpsm"}


@becoming_nobody
async def test_as_a_user_without_a_home_who_may_write_nothing(tmp_path: Path) -> None:
    environment = {name: value for name, value in BASE.items() if name != "HOME"}
    async with serving(tmp_path, environment, prefix=NOBODY) as url:
        assert await drawing_models(url) == {"tpsm"}
    assert "storage: no face can be kept in storage: " in (tmp_path / "serve.log").read_text()


@mounting
async def test_with_a_temporary_folder_that_is_full_and_may_not_execute_and_little_shared_memory(
    tmp_path: Path,
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    mounts = mounted(
        f"-t tmpfs -o noexec,size=64k tmpfs {temporary}", "-t tmpfs -o size=8m tmpfs /dev/shm"
    )
    async with serving(tmp_path, BASE | {"TMPDIR": str(temporary)}, prefix=mounts) as url:
        assert await drawing_models(url) == {"tpsm"}


async def test_with_nobody_who_reads_its_output(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        async with serving(tmp_path, BASE, stdout=writing) as url:
            assert await drawing_models(url) == {"tpsm"}
    finally:
        os.close(writing)


async def test_with_closed_streams_and_few_descriptors(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running(
        tmp_path, BASE, "--port", str(port), prefix=shell("ulimit -n 64; exec <&- >&- 2>&-")
    ) as (process, _):
        await until(lambda: _listens(port) or process.poll() is not None, PATIENCE_S)
        assert await drawing_models(f"http://127.0.0.1:{port}") == {"tpsm"}


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


FETCHED = downloads_folder()
SERVER = TRITONSERVER.path() / "pytriton" / "tritonserver" / "bin" / "tritonserver"

REFUSALS = {
    "/dev/shm, shared memory, cannot be written to (Read-only file system)": mounted(
        "-t tmpfs -o ro tmpfs /dev/shm"
    ),
    "4 MiB are free in /dev/shm, shared memory, and 8 are needed": mounted(
        "-t tmpfs -o size=4m tmpfs /dev/shm"
    ),
    "tritonserver cannot write to /tmp (Read-only file system)": mounted(
        "-t tmpfs -o ro tmpfs /tmp"
    ),
    f"{SERVER} may not be executed": mounted(
        f"--bind {FETCHED} {FETCHED}", f"-o remount,bind,noexec {FETCHED}"
    ),
}


CHECKS = """
from orchestrator.cli.doctor.environment_checks import ENVIRONMENT
from orchestrator.core.config import ServiceConfig
for check in (ask(ServiceConfig()) for ask in ENVIRONMENT):
    print(f"{check.name} {check.state}: {check.finding}")
"""


@mounting
@pytest.mark.parametrize("sentence", REFUSALS)
def test_a_folder_that_the_server_cannot_do_without_is_named(tmp_path: Path, sentence: str) -> None:
    assert f"lipsync: {sentence}" in refusal(tmp_path, BASE, prefix=REFUSALS[sentence])


@mounting
def test_the_doctor_names_these_folders_too(tmp_path: Path) -> None:
    mounts = mounted("-t tmpfs -o size=4m tmpfs /dev/shm", "-t tmpfs -o ro tmpfs /tmp")
    command = [*mounts, sys.executable, "-c", CHECKS]
    said = subprocess.run(
        command, env=BASE, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    ).stdout
    found = [line.split(":")[0] for line in said.splitlines()]
    assert found == [
        "shared memory MISSING",
        "temporary folder MISSING",
        "open files ok",
        "threads ok",
    ]


def test_a_program_that_the_kernel_does_not_run_is_named(tmp_path: Path) -> None:
    root = tmp_path / TRITONSERVER.folder / "pytriton" / "tritonserver"
    for program in ("bin/tritonserver", "backends/python/triton_python_backend_stub"):
        (root / program).parent.mkdir(parents=True)
        (root / program).write_bytes(b"\x7fELF of another machine")
        (root / program).chmod(0o755)
    said = refusal(tmp_path, BASE | {"LIPSYNC_DOWNLOADS": str(tmp_path)})
    assert (
        f"lipsync: tritonserver is not executable: {root}/bin/tritonserver: Exec format error"
        in said
    )


def test_too_few_descriptors_are_named(tmp_path: Path) -> None:
    assert "lipsync: only 40 files may be open at once" in refusal(
        tmp_path, BASE, prefix=shell("ulimit -n 40")
    )


@becoming_nobody
def test_too_few_threads_are_named(tmp_path: Path) -> None:
    """The limit counts what the user has in all, so it is a user's who has nothing else."""
    said = refusal(tmp_path, BASE, prefix=(*NOBODY, *shell("ulimit -u 100")))
    assert re.search("lipsync: only [0-9]+ threads can be started, and 200 are needed", said)


def test_a_path_without_a_shell_is_named(tmp_path: Path) -> None:
    assert (
        "lipsync: bash, by which tritonserver starts its backend processes, is not on the PATH"
        in refusal(tmp_path, BASE | {"PATH": "/nowhere"})
    )


def test_a_foreign_package_that_hides_ours_is_named(tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text("import a_library_of_another_python")
    said = refusal(tmp_path, BASE | {"PYTHONPATH": str(tmp_path)})
    assert f"PYTHONPATH is {tmp_path}, whose packages come first: unset it" in said


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in refusal(tmp_path, BASE, port=port)
