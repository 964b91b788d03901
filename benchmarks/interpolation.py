"""Error of interpolated frames against generated ones, motion-aware and blended.

    python -m benchmarks.interpolation

Every second frame of a recording is held out and interpolated from its neighbours. Prints a row
per face and gap: mean error around the mouth in grey levels for a repeated, a blended and a
motion-aware frame, the ratio of the last two, and CPU ms per frame.
"""

from __future__ import annotations

import time
from typing import Final

import cv2
import numpy as np

from benchmarks.shared import command_line, sample_speech
from benchmarks.speaking_faces import drawn_portrait, heard, photo
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.core.types import FaceModel, RgbImage, Samples
from orchestrator.models.tpsm.adapter import prepare_face
from orchestrator.video.interpolation import interpolate

SIZE: Final = 256
FPS: Final = (20.0, 40.0)
"""Frame rates before every second frame is held out: gaps of 100 ms and of 50 ms."""


def main() -> None:
    """Print the table."""
    command_line("interpolation", __doc__).parse_args()
    cv2.setNumThreads(1)
    samples = sample_speech("hello.wav")
    print(
        f"{'face':>9} {'gap ms':>7} {'frames':>7} {'repeat':>7} {'blend':>7} {'motion':>7} "
        f"{'motion/blend':>13} {'cpu ms':>7}"
    )
    for name, face in (("drawing", drawn_portrait()), ("photo", photo())):
        for fps in FPS:
            _print(name, face, samples, fps)


def _print(name: str, face: FaceModel, samples: Samples, fps: float) -> None:
    frames = heard(samples, prepare_face(face, SIZE), fps, SIZE, MODEL_REPOSITORY).frames
    held_out = range(1, len(frames) - 1, 2)
    began_s = time.process_time()
    moved = [interpolate(frames[index - 1], frames[index + 1], 0.5) for index in held_out]
    cpu_ms = (time.process_time() - began_s) / len(moved) * 1000.0
    guesses: dict[str, list[RgbImage]] = {
        "repeat": [frames[index - 1] for index in held_out],
        "blend": [
            np.asarray(
                cv2.addWeighted(frames[index - 1], 0.5, frames[index + 1], 0.5, 0.0), np.uint8
            )
            for index in held_out
        ],
        "motion": moved,
    }
    mouth = _mouth(face)
    errors = {
        kind: float(
            np.mean(
                [
                    _error(guess, frames[index], mouth)
                    for guess, index in zip(images, held_out, strict=True)
                ]
            )
        )
        for kind, images in guesses.items()
    }
    figures = " ".join(f"{errors[kind]:>7.3f}" for kind in guesses)
    print(
        f"{name:>9} {2000 / fps:>7.0f} {len(moved):>7} {figures} "
        f"{errors['motion'] / errors['blend']:>13.2f} {cpu_ms:>7.2f}"
    )


def _error(guess: RgbImage, generated: RgbImage, region: tuple[slice, slice]) -> float:
    return float(np.abs(guess[region].astype(np.int16) - generated[region]).mean())


def _mouth(face: FaceModel) -> tuple[slice, slice]:
    height, width = face.neutral_pose.shape[:2]
    points = face.landmarks()[[0, 17, 61, 291, 152]] * (SIZE / np.array([width, height]))
    (left, top), (right, bottom) = points.min(axis=0) - 10, points.max(axis=0) + 10
    return slice(int(max(0, top)), int(bottom)), slice(int(max(0, left)), int(right))


if __name__ == "__main__":
    main()
