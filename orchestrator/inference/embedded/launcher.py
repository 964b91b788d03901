"""Becomes `tritonserver`, after asking the kernel to kill it when its parent dies.

A program of its own and not a `preexec_fn`: forking a process with gRPC's threads in it is not
safe. Usage: python -I -S launcher.py PARENT_PID PROGRAM [ARGUMENT ...]
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
NOT_EXECUTABLE = 126  # as shells report it

if __name__ == "__main__":
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[1]):  # it died before we could ask
        sys.exit(1)
    try:
        os.execv(sys.argv[2], sys.argv[2:])
    except OSError as error:
        print(f"{sys.argv[2]}: {error.strerror}", file=sys.stderr)
        sys.exit(NOT_EXECUTABLE)
