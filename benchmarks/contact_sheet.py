"""Contact sheets of the portrait and of a photo, to be judged by eye.

    python -m benchmarks.contact_sheet [--photo PATH] [--audio PATH] [--out DIR] [--size 256]

Writes four PNG files per face and prints their paths: visemes, enlarged mouths, transitions, and a
spoken second.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.shared import command_line
from benchmarks.speaking_faces import drawn_portrait, heard
from orchestrator.audio.files import read_audio
from orchestrator.core.paths import MODEL_REPOSITORY, SAMPLES
from orchestrator.core.types import FaceModel, RgbImage
from orchestrator.faces.enrolment.enrol import enrol_photo
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.models.tpsm.adapter import prepare_face
from orchestrator.rendering.face_renderer import FaceRenderer
from orchestrator.rendering.motion import CLOSED, HEAD_PARAMETERS, MOTION_PARAMETERS, VISEMES

FPS: Final = 20
SIZE: Final = 256
COLUMNS: Final = 6
TRANSITION_FRAMES: Final = 8

BLINKS: Final = (0.25, 0.5, 0.75, 1.0)
"""Lids, from nearly open to closed."""

MOUTH_ZOOM: Final = 2


def main() -> None:
    """Write the sheets of each face into `--out` and print their paths."""
    options = _parser().parse_args()
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    faces = {"portrait": drawn_portrait()}
    if options.photo is not None:
        faces["photo"] = _enrolled(options.photo)
    for name, face in faces.items():
        prepared = prepare_face(face, options.size)
        renderer = FaceRenderer(prepared.maps)
        shown = visemes(renderer)
        spoken = heard(
            read_audio(options.audio), prepared, FPS, options.size, MODEL_REPOSITORY
        ).frames
        sheets = {
            "visemes": sheet(shown),
            "mouths": sheet([(label, _mouth(renderer, frame)) for label, frame in shown]),
            "transitions": sheet(transitions(renderer), columns=TRANSITION_FRAMES),
            "second": sheet(_spoken_second(options.audio, spoken), columns=FPS // 4),
        }
        for kind, picture in sheets.items():
            path = options.out / f"{name}-{kind}.png"
            cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            print(path)


def visemes(renderer: FaceRenderer) -> list[tuple[str, RgbImage]]:
    """The photo, each viseme, and the lids of `BLINKS`, each with its label."""
    drawn = [(name, renderer.draw(motion_row(mouth))) for name, mouth in VISEMES.items()]
    drawn += [
        (f"blink {blink}", renderer.draw(motion_row(VISEMES["sil"], blink=blink)))
        for blink in BLINKS
    ]
    size = renderer.maps.size
    photo = np.asarray(
        cv2.resize(renderer.maps.image, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8
    )
    return [("photo", photo), *drawn]


def transitions(renderer: FaceRenderer) -> list[tuple[str, RgbImage]]:
    """`TRANSITION_FRAMES` each of: rest to aa, aa to a bilabial to aa, aa to ou, ih to ou."""
    shares = np.linspace(0.0, 1.0, TRANSITION_FRAMES)
    rows = [
        *_between("sil", "aa", shares),
        *[
            (f"aa p {shut:.1f}", _closing("aa", shut))
            for shut in np.sin(np.linspace(0.0, np.pi, TRANSITION_FRAMES))
        ],
        *_between("aa", "ou", shares),
        *_between("ih", "ou", shares),
    ]
    return [(label, renderer.draw(row)) for label, row in rows]


def motion_row(mouth: Sequence[float], **head: float) -> NDArray[np.float32]:
    """A motion row `[11]` of mouth parameters and of head parameters by name."""
    values = [*mouth, *(head.get(name, 0.0) for name in HEAD_PARAMETERS)]
    return np.array(values, dtype=np.float32).reshape(len(MOTION_PARAMETERS))


def sheet(pictures: Sequence[tuple[str, RgbImage]], columns: int = COLUMNS) -> RgbImage:
    """The pictures in rows of `columns`, each with its label."""
    tiles = [_labelled(label, picture) for label, picture in pictures]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.vstack(
        [np.hstack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    )


def _between(
    first: str, second: str, shares: NDArray[np.float64]
) -> list[tuple[str, NDArray[np.float32]]]:
    start, end = np.array(VISEMES[first]), np.array(VISEMES[second])
    return [
        (f"{first}-{second} {share:.1f}", motion_row(tuple(start + (end - start) * share)))
        for share in shares
    ]


def _closing(viseme: str, shut: float) -> NDArray[np.float32]:
    row = motion_row(VISEMES[viseme])
    row[CLOSED] = shut
    return row


def _mouth(renderer: FaceRenderer, frame: RgbImage) -> RgbImage:
    """The lower face, enlarged."""
    x, y, width, height = (int(v) for v in renderer.maps.mouth_box)
    cut = frame[y : y + height, x : x + width]
    return np.asarray(
        cv2.resize(cut, None, fx=MOUTH_ZOOM, fy=MOUTH_ZOOM, interpolation=cv2.INTER_CUBIC),
        dtype=np.uint8,
    )


def _spoken_second(audio: Path, frames: Sequence[RgbImage]) -> list[tuple[str, RgbImage]]:
    """The frames of the second in which the picture moves most."""
    moved = np.array(
        [0.0]
        + [float(np.abs(b.astype(np.int16) - a).mean()) for a, b in itertools.pairwise(frames)]
    )
    sums = np.convolve(moved, np.ones(min(FPS, len(moved))), mode="valid")
    start = int(sums.argmax())
    return [
        (f"{audio.stem} {(start + i) / FPS:.2f} s", frame)
        for i, frame in enumerate(frames[start : start + FPS])
    ]


def _labelled(label: str, picture: RgbImage) -> RgbImage:
    tile = picture.copy()
    for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(
            tile, label, (5, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, thickness, cv2.LINE_AA
        )
    return tile


def _enrolled(photo: Path) -> FaceModel:
    with tempfile.TemporaryDirectory() as folder:
        store = LocalFaceStore(Path(folder))
        return asyncio.run(
            enrol_photo(
                photo.read_bytes(), user_id="sheet", face_id=photo.stem, store=store, consent=True
            )
        )


def _parser() -> argparse.ArgumentParser:
    parser = command_line("contact_sheet", __doc__)
    parser.add_argument("--photo", type=Path, help="another face, beside the demo portrait")
    parser.add_argument(
        "--audio", type=Path, default=SAMPLES / "hello.wav", help="speech for the spoken second"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("contact-sheets"), help="folder for the PNG files"
    )
    parser.add_argument(
        "--size", type=int, choices=(128, 256, 512), default=SIZE, help="side of a frame in pixels"
    )
    return parser


if __name__ == "__main__":
    main()
