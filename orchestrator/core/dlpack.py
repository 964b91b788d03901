"""DLPack tensors for models of Triton's Python backend, which read and write arrays of any numpy
that way.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

from numpy.typing import NDArray

USED: Final = b"used_dltensor"
"""Name of a capsule whose memory has another owner now (DLPack's Python specification)."""

_set_name: Final = ctypes.pythonapi.PyCapsule_SetName
_set_name.argtypes = [ctypes.py_object, ctypes.c_char_p]


def to_tensor(pb_utils: Any, name: str, array: NDArray[Any]) -> Any:
    """Make a `pb_utils.Tensor` that owns the memory of `array`, which has to be contiguous and
    writable.

    The backend marks a capsule that it took over by a name of its own ("used_dlpack"), which numpy
    does not know: it then raises, and writes a traceback to the server's log, for every tensor.
    That takes 0.1 ms, so the capsule is named rightly.
    """
    capsule = array.__dlpack__()
    tensor = pb_utils.Tensor.from_dlpack(name, capsule)
    _set_name(capsule, USED)
    return tensor
