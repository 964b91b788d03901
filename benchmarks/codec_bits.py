"""Bitrate of H.264 and of JPEG for the same speaking face at equal SSIM.

    python -m benchmarks.codec_bits

Prints a row per face and size: SSIM, both bitrates in kbit/s, the JPEG quality of that SSIM, and
the ratio of the bitrates. Needs scikit-image, a package of the development extra.
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

from benchmarks.shared import command_line, sample_speech
from benchmarks.speaking_faces import drawn_portrait, heard, photo
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.core.types import RgbImage
from orchestrator.models.tpsm.adapter import prepare_face
from orchestrator.video.encoder import H264Encoder, JpegEncoder

FPS: Final = 20.0
SIZES: Final = (256, 512)
QUALITY: Final = 80
"""Quality of H.264, the wire's default; the JPEG quality of the same SSIM is searched for."""

UNBOUNDED_BPS: Final = 20_000_000
"""Bitrate limit that is never reached, so that the quality alone decides."""

SSIM_FRAME_STEP: Final = 5
"""SSIM is measured on every fifth frame."""

MAX_RATIO: Final = 0.2
"""Highest accepted bits of H.264 as a share of JPEG's."""


def main() -> int:
    """Print the table; return 1 where H.264 needs more than `MAX_RATIO` of JPEG's bits."""
    command_line("codec_bits", __doc__).parse_args()
    cv2.setNumThreads(1)
    samples, worst = sample_speech("hello.wav"), 0.0
    print(
        f"{'face':>9} {'size':>5} {'SSIM':>7} {'H.264 kbit/s':>13} {'JPEG kbit/s':>12} "
        f"{'quality':>8} {'ratio':>6}"
    )
    for name, face in (("drawing", drawn_portrait()), ("photo", photo())):
        for size in SIZES:
            frames = heard(samples, prepare_face(face, size), FPS, size, MODEL_REPOSITORY).frames
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
    return 0 if worst <= MAX_RATIO else 1


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
    """Bits and quality of the coarsest JPEG whose SSIM is at least `likeness`."""
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
    """Mean SSIM of the luma, to which the eye is most sensitive."""

    def luma(image: RgbImage) -> Any:
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)

    chosen = range(0, len(frames), SSIM_FRAME_STEP)
    pairs = ((luma(frames[index]), luma(shown(index))) for index in chosen)
    likeness: Callable[..., float] = structural_similarity
    return float(np.mean([likeness(*pair) for pair in pairs]))


if __name__ == "__main__":
    sys.exit(main())
