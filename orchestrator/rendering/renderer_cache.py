"""LRU cache of renderers by face hash, and the drawing of requests' rows with them.

The renderer as a server uses it, independent of which server.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.rendering.face_maps import FaceMaps
from orchestrator.rendering.face_renderer import FaceRenderer
from orchestrator.rendering.frame_centres import spoken_motion
from orchestrator.rendering.map_files import MapFiles
from orchestrator.rendering.test_card import CARD_FACE, card_frame

MAX_FACES: Final = 64
MAX_MAP_BYTES: Final = 128 << 20
"""Upper bound of the maps as sent; a renderer holds about twice that."""

DIFFERENT_SIZES: Final = "face: rows of one request have faces of different sizes"


class UnknownFaceError(LookupError):
    """No known face has the hash: send its maps and try again."""


class RendererCache:
    """Renderers of the faces last used, bounded in number and in bytes."""

    def __init__(
        self,
        max_faces: int = MAX_FACES,
        max_map_bytes: int = MAX_MAP_BYTES,
        files: MapFiles | None = None,
    ) -> None:
        """Share `files` with other instances of the renderer."""
        self._files = files
        self._max_faces = max_faces
        self._max_map_bytes = max_map_bytes
        self._map_bytes = 0
        self._faces: OrderedDict[bytes, tuple[FaceRenderer, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._faces)

    def get(self, digest: bytes) -> FaceRenderer:
        """The renderer of a face.

        UnknownFaceError when its maps were never sent here or have been evicted.
        """
        if digest not in self._faces and not self._load_shared(digest):
            raise UnknownFaceError(f"unknown face {digest.hex()}")
        self._faces.move_to_end(digest)
        return self._faces[digest][0]

    def put(self, digest: bytes, blob: bytes) -> None:
        """Take the maps of a face; ValueError when they are damaged or not those of `digest`."""
        if digest not in self._faces:
            self._hold(digest, blob)
        if self._files is not None:
            self._files.put(digest, blob)

    def close(self) -> None:
        """Release the shared files, which the other instances keep using."""
        if self._files is not None:
            self._files.close()

    def _load_shared(self, digest: bytes) -> bool:
        """Load the maps that another instance was sent; False where there are no usable ones."""
        blob = self._files.get(digest) if self._files is not None else None
        if self._files is None or blob is None:
            return False
        try:
            self._hold(digest, blob)
        except ValueError:
            self._files.discard(digest)
            return False
        return True

    def _hold(self, digest: bytes, blob: bytes) -> None:
        maps = FaceMaps.from_bytes(blob)
        found = hashlib.sha256(blob).digest()  # `maps.digest`, without serialising the maps again
        if found != digest:
            raise ValueError(f"face maps: their hash is {found.hex()}, not {digest.hex()}")
        self._faces[digest] = (FaceRenderer(maps), len(blob))
        self._map_bytes += len(blob)
        while len(self._faces) > 1 and (
            len(self._faces) > self._max_faces or self._map_bytes > self._max_map_bytes
        ):
            _, (_, dropped_bytes) = self._faces.popitem(last=False)
            self._map_bytes -= dropped_bytes

    def speak(
        self,
        steps: NDArray[np.float32],
        moments: NDArray[np.float32] | None,
        faces: NDArray[np.uint8],
    ) -> NDArray[np.uint8]:
        """Frames `[n, k * size, size, 3]`, the `k` of a row one below the other.

        For `steps` `[n, 16, 7]` and `moments` `[n, k, 5]`, see `frame_centres.spoken_motion`.
        Errors as `draw`.
        """
        if moments is None or not moments.shape[1]:
            raise ValueError("moments: send at least one with steps")
        frames = self.draw(
            spoken_motion(steps, moments), np.repeat(faces, moments.shape[1], axis=0)
        )
        return frames.reshape(len(moments), -1, *frames.shape[2:])

    def draw(
        self,
        motion: NDArray[np.float32] | None,
        faces: NDArray[np.uint8],
        maps: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Frames `[n, size, size, 3]` for `motion` `[n, 11]` of `faces` `[n, 32]`.

        `maps` `[1, bytes]` are those of the only row. UnknownFaceError when maps have to be sent,
        ValueError when the request can never be drawn.
        """
        if motion is None:
            raise ValueError("motion: send motion, or steps and moments")
        digests = [row.tobytes() for row in faces]
        if maps is not None:
            if len(digests) != 1:
                raise ValueError(f"maps: sent with {len(digests)} rows, expected 1")
            self.put(digests[0], maps.tobytes())
        if CARD_FACE in digests:
            return _card_frames(digests, motion)
        faces_of_rows = [self.get(digest) for digest in digests]
        if len({face.maps.size for face in faces_of_rows}) > 1:
            raise ValueError(DIFFERENT_SIZES)
        size = faces_of_rows[0].maps.size
        frames = np.empty((len(digests), size, size, 3), dtype=np.uint8)
        for face, row, frame in zip(faces_of_rows, motion, frames, strict=True):
            face.draw_into(row, frame)
        return frames


def _card_frames(digests: list[bytes], motion: NDArray[np.float32]) -> NDArray[np.uint8]:
    if set(digests) != {CARD_FACE}:
        raise ValueError(DIFFERENT_SIZES)
    return np.stack([card_frame(row) for row in motion])
