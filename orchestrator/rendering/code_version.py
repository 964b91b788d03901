"""Version of the code that solves face maps: stored maps of another version are solved again."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import cv2


@cache
def code_version() -> str:
    """Hash of this package's source files and of OpenCV's version, which resamples the photo.

    Taken from the files, so that no version number has to be maintained by hand. Any edit makes
    stored maps stale, also one that changes no map: solving them again costs less than 0.1 s a
    face.
    """
    found = hashlib.sha256(cv2.__version__.encode())
    for file in sorted(Path(__file__).parent.glob("*.py")):
        found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]
