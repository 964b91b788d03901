"""The records that chain networks: speech to coefficients, coefficients to frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.networks.sadtalker.graphs import byte_pictures
from export.networks.sadtalker.mapping import moved_key_points
from export.networks.sadtalker.renderer import EncodedPhoto, FaceRenderer
from export.networks.sadtalker.speech import mel_of_file, seeded_speech
from export.networks.sadtalker.verification_steps import SPEECH_FRAMES, SPEECH_SAMPLES
from export.reference import Reference
from orchestrator.models.sadtalker.coefficients import (
    EXPRESSION,
    POSED_VALUES,
    coefficient_windows,
    driving_rows,
    still_window,
)
from orchestrator.models.sadtalker.features import blink_ratio, mel_windows, reference_rows
from orchestrator.models.sadtalker.pose import joined_pose, pose_chunks, smoothed

Outputs = Iterator[tuple[str, NDArray[Any]]]
Networks = Callable[[str], nn.Module]

SEQUENCE_STYLE = 7
SPOKEN_FRAME = 10
SPOKEN_EXPRESSION_SCALE = 0.1
FREE_VIEW_DEGREES = (12.0, -7.0, 3.0)


def pose_sequences(reference: Reference, networks: Networks) -> Outputs:
    """Head motion over 75, 20 and 9 frames: full chunks, a remainder, and less than a chunk."""
    for frames in (75, 20, 9):
        pose = _pose(reference, networks, reference.inputs["mel_seq"][0, :frames], SEQUENCE_STYLE)
        yield f"audio2pose_sequence.pose_T{frames}", pose[None]
        yield f"audio2pose_sequence.smooth_T{frames}", smoothed(pose)[None]
    yield "e2e_audio_to_coeff.coeff", spoken_coefficients(reference, networks)


def _pose(
    reference: Reference, networks: Networks, windows: NDArray[np.float32], style: int
) -> NDArray[np.float32]:
    """Poses `[t, 6]` of mel windows `[t, 1, 80, 16]`; chunk k takes row k of the seeded noise."""
    chunks = torch.from_numpy(pose_chunks(windows))
    pose = reference.records["raw.source_coeff73"][0, EXPRESSION:POSED_VALUES]
    noise = torch.from_numpy(reference.inputs["z_seq"][: len(chunks)])
    styles, poses = (
        torch.full((len(chunks),), style),
        torch.from_numpy(pose).expand(len(chunks), -1),
    )
    return joined_pose(
        networks("audio2pose")(chunks, noise, styles, poses).numpy(), pose, len(windows)
    )


def spoken_coefficients(reference: Reference, networks: Networks) -> NDArray[np.float32]:
    """Two seconds of test speech to `[50, 70]`."""
    speech = (seeded_speech(SPEECH_SAMPLES, reference.seed) / 32768.0).astype(np.float32)
    windows = mel_windows(mel_of_file(speech), SPEECH_FRAMES)
    rows = reference_rows(reference.records["raw.source_coeff73"][0], SPEECH_FRAMES)
    blink = blink_ratio(SPEECH_FRAMES, Random(reference.seed))[:, None]
    heard = (windows, rows[:, :EXPRESSION], blink)
    expression = networks("audio2exp")(
        *(torch.from_numpy(np.ascontiguousarray(part)) for part in heard)
    ).numpy()
    return np.concatenate(
        (expression, smoothed(_pose(reference, networks, windows, style=0))), axis=1
    )


def end_to_end(reference: Reference, networks: Networks) -> Outputs:
    """Frames of the seeded photo by seeded coefficients, and of the test speech."""
    yield from _rendered(reference, networks)
    yield from _spoken(reference, networks)


def _rendered(reference: Reference, networks: Networks) -> Outputs:
    picture = torch.from_numpy(reference.inputs["source_image"][:1])
    windows = torch.from_numpy(reference.inputs["target_semantics"][0])
    row = reference.inputs["source_semantics"][0, :, 0]
    canonical, photo = _prepared(networks, picture)
    source = _own_key_points(networks, canonical, row)
    driving = moved_key_points(canonical.expand(2, -1, -1), networks("mapping70")(windows))
    frames = torch.cat(
        [networks("generator")(photo, source, points[None])[0] for points in driving]
    )
    yield "e2e_render.kp_canonical", canonical.numpy()
    yield "e2e_render.kp_source", source.numpy()
    yield "e2e_render.kp_driving_frame1", driving[1:].numpy()
    yield "e2e_render.prediction", frames[None].numpy()
    yield "e2e_render.frame_u8", byte_pictures(frames[1:], 1)[0, 0].numpy()
    view = moved_key_points(
        canonical, networks("mapping70")(windows[:1]), torch.tensor([FREE_VIEW_DEGREES])
    )
    yield (
        "e2e_render.prediction_free_view",
        networks("generator")(photo, source, view)[0][None].numpy(),
    )


def _spoken(reference: Reference, networks: Networks) -> Outputs:
    picture = torch.from_numpy(reference.inputs["source_u8"]).permute(2, 0, 1)[None] / 255.0
    generated, source_row = (
        spoken_coefficients(reference, networks),
        reference.records["raw.source_coeff73"][0],
    )
    canonical, photo = _prepared(networks, picture)
    for name, width, still in (("crop", 70, False), ("full_still", 73, True)):
        rows = driving_rows(
            generated,
            source_row,
            width=width,
            expression_scale=SPOKEN_EXPRESSION_SCALE,
            still=still,
        )
        window = coefficient_windows(rows)[SPOKEN_FRAME : SPOKEN_FRAME + 1]
        yield f"e2e_audio_to_frame.target_semantics_{name}", window
        source = _own_key_points(networks, canonical, source_row[:width])
        driving = moved_key_points(canonical, networks(f"mapping{width}")(torch.from_numpy(window)))
        yield (
            f"e2e_audio_to_frame.frame_{name}",
            networks("generator")(photo, source, driving)[0].numpy(),
        )


def _prepared(networks: Networks, picture: Tensor) -> tuple[Tensor, EncodedPhoto]:
    """Canonical key points `[1, 15, 3]` and encoding of a picture `[1, 3, 256, 256]`."""
    renderer = networks("generator")
    assert isinstance(renderer, FaceRenderer)
    return networks("kp_extractor")(picture), renderer.encode(picture)


def _own_key_points(networks: Networks, canonical: Tensor, row: NDArray[np.float32]) -> Tensor:
    """`[1, 15, 3]` of a photo with coefficients `row` of 70 or 73."""
    return moved_key_points(
        canonical, networks(f"mapping{len(row)}")(torch.from_numpy(still_window(row))[None])
    )
