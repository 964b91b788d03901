"""Arguments of a caller, checked before anything is sent to the service."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Final

from orchestrator import protocol
from orchestrator.client.errors import invalid_argument
from orchestrator.core.types import LipSyncModel, VideoFormat

BYTES_PER_SAMPLE: Final = 2


def video_config(fps: float, size_px: int, video_format: str, quality: int) -> protocol.WireConfig:
    """Video settings as on the wire; InvalidMessageError for a format other than jpeg and h264.

    The service checks the ranges of the numbers.
    """
    if video_format not in list(VideoFormat):
        raise invalid_argument(
            "format", f"is {video_format!r}; send one of {', '.join(VideoFormat)}"
        )
    resolution = protocol.WireResolution(size_px, size_px)
    return protocol.WireConfig(fps, resolution, VideoFormat(video_format), quality)


def preferred_model(model: str | None) -> LipSyncModel | None:
    """A model by its wire name; InvalidMessageError for a text that cannot be a name.

    A model that only the service knows is accepted.
    """
    try:
        return None if model is None else LipSyncModel.own(model)
    except ValueError as error:
        raise invalid_argument("model", str(error)) from None


def read_wav(path: str | Path) -> tuple[bytes, int, int]:
    """Samples, sample rate in Hz and number of channels of a WAV file of 16-bit PCM.

    Raises InvalidMessageError for another coding and OSError for an unreadable file.
    """
    try:
        with wave.open(str(path)) as clip:
            params, pcm = clip.getparams(), clip.readframes(clip.getnframes())
    except (wave.Error, EOFError) as error:
        raise invalid_argument(
            "path", f"{path} is no WAV file of PCM ({error}); convert it to 16-bit PCM"
        ) from None
    if params.sampwidth != BYTES_PER_SAMPLE:
        raise invalid_argument(
            "path", f"{path} has samples of {8 * params.sampwidth} bits; convert it to 16-bit PCM"
        )
    return pcm, params.framerate, params.nchannels
