"""Detect a file's kind by its first bytes, and read its tensors.

Names and suffixes are not trusted.
"""

from __future__ import annotations

import codecs
import json
import math
import mmap
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

REBUILD_NUMBER: Final[Any] = np.float64(0).__reduce__()[0]
"""The function that rebuilds a pickled number.

Its module has one name in numpy 1 and another in numpy 2.
"""

NUMPY_NUMBERS: Final[tuple[Any, ...]] = (
    (REBUILD_NUMBER, "numpy.core.multiarray.scalar"),
    (REBUILD_NUMBER, "numpy._core.multiarray.scalar"),
    (np.dtype, "numpy.dtype"),
    (codecs.encode, "_codecs.encode"),
    *{type(np.dtype(kind)): None for kind in ("float64", "float32", "int64", "int32", "bool")},
)
"""Names that a pickled number of numpy refers to; none of them runs code.

Trainers store the best loss in this form beside the weights.
"""


class WrongCheckpointError(Exception):
    """The file is not the expected one; the message says what it is and what was expected."""


TORCH_PICKLE: Final = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The pickled magic number with which `torch.save` began before version 1.6."""

FOREIGN_SIGNATURES: Final = (
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"RIFF", "a RIFF file (WebP picture, WAV sound or AVI video)"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\x89HDF", "an HDF5 file (Keras or TensorFlow)"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
)
"""First bytes of files that are often saved under a checkpoint's name."""

ONNX_FIELD_TAGS: Final = frozenset(b"\x12\x1a\x22\x2a\x32\x3a\x42")
"""Tags that follow the version number with which an ONNX file begins."""

MAX_SAFETENSORS_HEADER_BYTES: Final = 100_000_000
"""Bytes; the format's own limit."""

SAFETENSORS_DTYPES: Final = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def read_container(path: Path) -> tuple[str, dict[Any, Any]]:
    """Kind of the file in words, and its dict.

    The dict holds tensors by name, possibly wrapped in other dicts beside other values. No code of
    the file is run, except that of TorchScript, which knows tensors only.
    """
    if not path.is_file():
        raise WrongCheckpointError(
            f"{path} is {'a folder' if path.is_dir() else 'not there'}; expected a checkpoint file"
        )
    with path.open("rb") as file:
        head = file.read(4096)
    if head.startswith(b"PK\x03\x04"):
        return _zip(path)
    if head.startswith(TORCH_PICKLE):
        return "PyTorch pickle of the old format", _mapping(path, _torch_load(path))
    if _is_safetensors(head):
        return "safetensors file", dict(_safetensors(path))
    raise WrongCheckpointError(
        f"{path.name} is {_describe(head)}; expected PyTorch weights or safetensors"
    )


def _describe(head: bytes) -> str:
    if not head:
        return "empty (0 bytes)"
    for start, description in FOREIGN_SIGNATURES:
        if head.startswith(start):
            return description
    if head[0] == 0x08 and len(head) > 2 and head[1] < 0x20 and head[2] in ONNX_FIELD_TAGS:
        return "an ONNX model, which is a finished export"
    if head[257:262] == b"ustar":
        return (
            "a tar archive, which checkpoints are not even where their names end in .tar; "
            "unpack it first"
        )
    if head[0] == 0x80:
        return "a Python pickle that `torch.save` did not write"
    return _describe_text(head)


def _describe_text(head: bytes) -> str:
    text = head.decode("utf-8", errors="ignore").strip()
    if b"\0" in head or len(text.encode()) < 0.9 * len(head.strip()):
        return f"of no known kind (it begins with the bytes {head[:8].hex(' ')})"
    if re.match(r"(<!doctype html|<html|<head|<\?xml)", text, re.IGNORECASE):
        title = re.search(r"<title[^>]*>\s*([^<]{1,80})", text, re.IGNORECASE)
        name = f" titled {title.group(1).strip()!r}" if title else ""
        return f"a web page{name}, so the download brought a page of the host and not the file"
    return f"a text file that begins with {text[:60]!r}"


def _zip(path: Path) -> tuple[str, dict[Any, Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        size = path.stat().st_size
        raise WrongCheckpointError(
            f"{path.name} is a zip archive that is cut short or damaged ({size} bytes); "
            "expected a whole file, so download it again"
        ) from None
    if any(name.endswith("/constants.pkl") for name in names) and any(
        "/code/" in name for name in names
    ):
        return "TorchScript archive", _torchscript(path)
    if any(name.endswith("data.pkl") for name in names):
        return "PyTorch zip archive", _mapping(path, _torch_load(path))
    raise WrongCheckpointError(
        f"{path.name} is a zip archive of other files ({', '.join(names[:3]) or 'none'}); "
        "expected PyTorch weights, so unpack it first"
    )


def _torchscript(path: Path) -> dict[Any, Any]:
    try:
        with warnings.catch_warnings():
            # outdated for new models, but published ones have this format
            warnings.simplefilter("ignore", DeprecationWarning)
            return dict(torch.jit.load(path, map_location="cpu").state_dict())
    except RuntimeError as error:
        raise WrongCheckpointError(
            f"{path.name} is a TorchScript archive that cannot be read: {_first_line(error)}"
        ) from error


def _torch_load(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals([*NUMPY_NUMBERS]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it asks for {name.group(1)}" if name else _first_line(error)
        raise WrongCheckpointError(
            f"{path.name} is a pickle that would run code when it is loaded ({reason}); expected "
            "nothing but tensors and numbers, so it is refused; if you trust its origin, save "
            "its state dict alone and use that"
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise WrongCheckpointError(
            f"{path.name} is a PyTorch file that is cut short or damaged ({_first_line(error)})"
        ) from error


def _mapping(path: Path, value: Any) -> dict[Any, Any]:
    if isinstance(value, dict):
        return dict(value)
    raise WrongCheckpointError(
        f"{path.name} holds one {type(value).__name__}; expected a dict of tensors (a state dict)"
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def _is_safetensors(head: bytes) -> bool:
    return (
        head[8:9] == b"{"
        and 2 <= int.from_bytes(head[:8], "little") <= MAX_SAFETENSORS_HEADER_BYTES
    )


def _safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors over a private map of the file: writable without a change of the file."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    begin = 8 + int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8:begin])
        header.pop("__metadata__", None)
        return {name: _safetensor(data, begin, entry) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WrongCheckpointError(
            f"{path.name} is a safetensors file that is cut short or damaged ({len(data)} bytes: "
            f"{_first_line(error)})"
        ) from error


def _safetensor(data: mmap.mmap, begin: int, entry: dict[str, Any]) -> Tensor:
    dtype, shape = SAFETENSORS_DTYPES[entry["dtype"]], entry["shape"]
    first, last = entry["data_offsets"]
    if last - first != math.prod(shape) * dtype.itemsize or first < 0 or begin + last > len(data):
        raise ValueError(f"tensor data at {first}..{last} do not fit")
    if first == last:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(
        data, dtype=dtype, count=math.prod(shape), offset=begin + first
    ).reshape(shape)
