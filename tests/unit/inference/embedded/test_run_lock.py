"""What a killed run leaves behind is swept up; what a living one holds is left alone."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

from project_root import ROOT

from orchestrator.inference.embedded.run_lock import SHM, RunLock, sweep_dead_runs

RUN = """
import os, signal
from orchestrator.inference.embedded.run_lock import RunLock, SHM
run_lock = RunLock()
(SHM / f"{run_lock.prefix}segment").write_bytes(b"left behind")
(run_lock.folder() / "file").touch()
print(run_lock.prefix, run_lock.folder(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_segments_and_folder_of_a_killed_run_are_swept_up() -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, env=env)
    assert run.returncode == -signal.SIGKILL, run.stderr
    prefix, folder = run.stdout.split()
    assert Path(folder).exists()
    sweep_dead_runs()
    assert not list(SHM.glob(f"{prefix}*"))
    assert not Path(folder).exists()


def is_locked(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_a_living_run_keeps_what_it_has_until_it_lets_go() -> None:
    run_lock = RunLock()
    segment = SHM / f"{run_lock.prefix}segment"
    segment.write_bytes(b"in use")
    folder = run_lock.folder()
    assert is_locked(folder), "systemd-tmpfiles removes the old files of folders that are not"
    sweep_dead_runs()
    assert segment.exists()
    assert folder.exists()
    run_lock.release()
    run_lock.release()
    assert not list(SHM.glob(f"{run_lock.prefix}*"))
    assert not folder.exists()
