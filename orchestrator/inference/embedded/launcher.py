"""Replace this process by `tritonserver`, which the kernel kills when its parent dies.

A separate program instead of a `preexec_fn`, because forking a process with gRPC's threads is not
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
    if os.getppid() != int(sys.argv[1]):  # the parent died before the request took effect
        sys.exit(1)
    try:
        os.execv(sys.argv[2], sys.argv[2:])
    except OSError as error:
        print(f"{sys.argv[2]}: {error.strerror}", file=sys.stderr)
        sys.exit(NOT_EXECUTABLE)
