"""A bucket's store that can be stopped before each of its changes: the moments at which others
look, write, or the network is gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from face_packages import points
from google.cloud import storage

from orchestrator.core.types import FaceModel
from orchestrator.faces.storage.gcs import BucketFaceStore


class StepwiseBucketStore(BucketFaceStore):
    """Calls `before(n)` in the storage's thread before its nth change of the bucket, counted from
    `begin`.
    """

    def __init__(self, bucket: str, client: storage.Client) -> None:
        super().__init__(bucket, client)
        self.has_looked = threading.Event()
        self._looks = 0
        self.begin(lambda step: None)

    def begin(self, before: Callable[[int], None]) -> None:
        """Count anew."""
        self.steps, self._before = 0, before

    def _write(self, key: str, data: bytes) -> None:
        self._step()
        super()._write(key, data)

    def _remove(self, key: str) -> bool:
        self._step()
        return super()._remove(key)

    def _settle(self, prefix: str, own: str, files: dict[str, bytes]) -> None:
        """Tells when it is done, or has looked several times who else is at work."""
        self._looks = 0
        try:
            super()._settle(prefix, own, files)
        finally:
            self.has_looked.set()

    def _listed(self, prefix: str) -> list[storage.Blob]:
        self._looks += 1
        if self._looks == 4:
            self.has_looked.set()
        return super()._listed(prefix)

    def _step(self) -> None:
        self.steps += 1
        self._before(self.steps - 1)


def side_of_whole(face: FaceModel) -> int:
    """The size of a made-up face of which every file is of that size; AssertionError for a
    mixture.
    """
    side = face.resolution.width
    assert face.metadata["resolution"]["width"] == side
    assert [(point.x, point.y) for point in face.keypoints] == [
        (point["x"], point["y"]) for point in points(side=side)
    ]
    return side
