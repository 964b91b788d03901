"""DLPack tensors for models of Triton's Python backend, independent of the numpy version."""

from __future__ import annotations

import ctypes
from typing import Any, Final

from numpy.typing import NDArray

USED: Final = b"used_dltensor"
"""Name of a capsule whose memory has a new owner (DLPack's Python specification)."""

_set_name: Final = ctypes.pythonapi.PyCapsule_SetName
_set_name.argtypes = [ctypes.py_object, ctypes.c_char_p]


def to_tensor(pb_utils: Any, name: str, array: NDArray[Any]) -> Any:
    """Make a `pb_utils.Tensor` that owns the memory of `array`, a contiguous writable array.

    The backend renames a consumed capsule to "used_dlpack", a name that numpy does not know. numpy
    then raises and writes a traceback to the server's log for every tensor, which takes 0.1 ms.
    Hence the capsule gets the specified name.
    """
    capsule = array.__dlpack__()
    tensor = pb_utils.Tensor.from_dlpack(name, capsule)
    _set_name(capsule, USED)
    return tensor
