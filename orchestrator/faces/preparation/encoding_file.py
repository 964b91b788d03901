"""File format of face encodings.

A stored file is used only if it has exactly the arrays that the adapter declares.
"""

from __future__ import annotations

import io
import struct
import tokenize
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel, LipSyncModel
from orchestrator.faces.preparation import derived_files
from orchestrator.models.base import ArraySpec, FaceEncoding

MAX_FILE_BYTES: Final = 128 * 1024 * 1024
"""Largest file read or written: eight times the encoding of the largest model here."""

_NPY: Final[Any] = np.lib.format
"""numpy's array format, whose functions are untyped."""

_SUFFIX: Final = ".npy"
_UNREADABLE: Final = (
    ValueError,
    EOFError,
    OSError,
    RuntimeError,
    KeyError,
    IndexError,
    SyntaxError,
    MemoryError,
    OverflowError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
)
"""Exceptions of `zipfile` and numpy's header reader for bytes that are no array archive."""


@dataclass(frozen=True, slots=True, eq=False)
class Encodings:
    """Read-only arrays by name."""

    arrays: Mapping[str, NDArray[Any]]

    @property
    def nbytes(self) -> int:
        """Bytes held in memory."""
        return sum(array.nbytes for array in self.arrays.values())


def checked(
    model: LipSyncModel, encoding: FaceEncoding, returned: Mapping[str, NDArray[Any]]
) -> Encodings:
    """Copy the arrays of the adapter into read-only memory.

    Raises VIDEO_GENERATION_FAILED where they are not those that the adapter declares.
    """
    wrong = "; ".join(_differences(encoding, returned))
    if wrong:
        raise LipSyncError(
            LipSyncErrorCode.VIDEO_GENERATION_FAILED,
            f"the face encoding of {model.value} is invalid: {wrong}",
        )
    arrays = {name: np.array(array, order="C") for name, array in returned.items()}
    for array in arrays.values():
        array.flags.writeable = False
    return Encodings(arrays)


def fingerprint(
    face: FaceModel, model: LipSyncModel, encoding: FaceEncoding, networks: Sequence[str]
) -> str:
    """Fingerprint of the inputs of encodings: photo, points, adapter code and networks."""
    return derived_files.fingerprint(face, f"{model.value} {encoding.version} {' '.join(networks)}")


def to_npz(encodings: Encodings) -> bytes:
    """Encode as an uncompressed archive that `np.load` reads."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in encodings.arrays.items():
            with archive.open(name + _SUFFIX, "w", force_zip64=True) as member:
                _NPY.write_array(member, np.asarray(array), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def from_npz(data: bytes, encoding: FaceEncoding) -> Encodings:
    """Decode such an archive; ValueError unless it has exactly the declared arrays.

    Nothing is unpickled, and nothing is read or reserved beyond the size of `data`.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if sorted(member.filename for member in members) != sorted(
                name + _SUFFIX for name in encoding.arrays
            ):
                raise ValueError("not the arrays of the model")
            arrays = {name: _array(archive, name, spec) for name, spec in encoding.arrays.items()}
    except _UNREADABLE as error:
        raise ValueError(str(error) or type(error).__name__) from error
    return Encodings(arrays)


def _array(archive: zipfile.ZipFile, name: str, spec: ArraySpec) -> NDArray[Any]:
    member = archive.getinfo(name + _SUFFIX)
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        raise ValueError("the archive is compressed")
    content = archive.read(member)
    stream = io.BytesIO(content)
    if _NPY.read_magic(stream) != (1, 0):
        raise ValueError(f"{name}: another version of the array format")
    shape, is_fortran, dtype = _NPY.read_array_header_1_0(stream)
    wrong = _difference(name, spec, dtype, shape)
    if wrong or is_fortran or len(content) - stream.tell() != dtype.itemsize * _count(shape):
        raise ValueError(wrong or f"{name}: header and data do not match")
    return np.frombuffer(content, dtype, offset=stream.tell()).reshape(shape)


def _differences(encoding: FaceEncoding, returned: Mapping[str, NDArray[Any]]) -> list[str]:
    if returned.keys() != encoding.arrays.keys():
        return [f"{sorted(returned)} instead of {sorted(encoding.arrays)}"]
    found = [
        _difference(name, encoding.arrays[name], array.dtype, array.shape)
        for name, array in returned.items()
    ]
    return [difference for difference in found if difference]


def _difference(name: str, spec: ArraySpec, dtype: np.dtype[Any], shape: tuple[int, ...]) -> str:
    fits = len(shape) == len(spec.shape) and all(
        want in (-1, got) for want, got in zip(spec.shape, shape, strict=True)
    )
    return (
        ""
        if fits and dtype == np.dtype(spec.dtype)
        else f"{name}: {dtype} {shape} instead of {spec.dtype} {spec.shape}"
    )


def _count(shape: tuple[int, ...]) -> int:
    """Element count in Python integers: numpy's product of a forged shape would overflow."""
    count = 1
    for length in shape:
        count *= length
    return count
