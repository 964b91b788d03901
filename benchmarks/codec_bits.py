"""Bits of H.264 against JPEG for the same speaking face at equal picture quality (SSIM), and how a
target bitrate is held.

`python -m benchmarks.codec_bits`; needs scikit-image, which the development extra brings.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import av
import cv2
import numpy as np
import simplejpeg
from skimage.metrics import structural_similarity

from benchmarks.interpolation import speech
from benchmarks.speaking_faces import drawn_portrait, heard, photo
from orchestrator.core.config import ServiceConfig
from orchestrator.core.types import RgbImage
from orchestrator.models.tpsm.adapter import prepare_face
from orchestrator.video.encoder import H264Encoder, JpegEncoder

FPS: Final = 20.0
SIZES: Final = (256, 512)
QUALITY: Final = 80
"""The wire's default; JPEG is then searched for the same SSIM."""

UNBOUNDED_BPS: Final = 20_000_000
EVERY: Final = 5
"""SSIM is taken of every fifth frame."""


def main() -> int:
    """Print a table; exit status 1 where H.264 needs more than a fifth of JPEG's bits."""
    cv2.setNumThreads(1)
    samples, worst = speech(), 0.0
    print(
        f"{'face':>9} {'size':>5} {'SSIM':>7} {'H.264 kbit/s':>13} {'JPEG kbit/s':>12} "
        f"{'quality':>8} {'ratio':>6}"
    )
    for name, face in (("drawing", drawn_portrait()), ("photo", photo())):
        for size in SIZES:
            frames = heard(
                samples, prepare_face(face, size), FPS, size, ServiceConfig().model_repository
            ).frames
            bits, likeness = _h264(frames)
            jpeg_bits, quality = _jpeg_as_like(frames, likeness)
            worst = max(worst, bits / jpeg_bits)
            rates = (
                f"{bits * FPS / len(frames) / 1000:>13.0f} "
                f"{jpeg_bits * FPS / len(frames) / 1000:>12.0f}"
            )
            print(
                f"{name:>9} {size:>5} {likeness:>7.4f} {rates} {quality:>8} "
                f"{bits / jpeg_bits:>6.2f}"
            )
    return 0 if worst <= 0.2 else 1


def _h264(frames: Sequence[RgbImage]) -> tuple[int, float]:
    encoder, decoder = (
        H264Encoder(frames[0].shape[0], FPS, QUALITY, UNBOUNDED_BPS),
        av.CodecContext.create("h264", "r"),
    )
    coded = [encoder.encode(frame, force_keyframe=False).data for frame in frames]
    pictures = [
        picture for data in coded for picture in decoder.decode(av.Packet(data))
    ] + decoder.decode(None)
    shown: list[RgbImage] = [
        np.asarray(picture.to_ndarray(format="rgb24"), np.uint8) for picture in pictures
    ]
    return 8 * sum(map(len, coded)), _mean_ssim(frames, lambda index: shown[index])


def _jpeg_as_like(frames: Sequence[RgbImage], likeness: float) -> tuple[int, int]:
    """The coarsest quality whose SSIM is no lower, and its bits."""
    low, high = 1, 100
    while low < high:
        middle = (low + high) // 2
        through = partial(_through_jpeg, frames, middle)
        if _mean_ssim(frames, through) >= likeness:
            high = middle
        else:
            low = middle + 1
    encoder = JpegEncoder(low, FPS, None)
    return 8 * sum(len(encoder.encode(frame, force_keyframe=False).data) for frame in frames), low


def _through_jpeg(frames: Sequence[RgbImage], quality: int, index: int) -> RgbImage:
    data = JpegEncoder(quality, FPS, None).encode(frames[index], force_keyframe=False).data
    return np.asarray(simplejpeg.decode_jpeg(data, "RGB"), np.uint8)


def _mean_ssim(frames: Sequence[RgbImage], shown: Callable[[int], RgbImage]) -> float:
    """Of the luma, where the eye is sharpest."""

    def luma(image: RgbImage) -> Any:
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)

    chosen = range(0, len(frames), EVERY)
    pairs = ((luma(frames[index]), luma(shown(index))) for index in chosen)
    likeness: Callable[..., float] = structural_similarity
    return float(np.mean([likeness(*pair) for pair in pairs]))


if __name__ == "__main__":
    sys.exit(main())
