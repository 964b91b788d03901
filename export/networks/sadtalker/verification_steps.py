"""The records without networks: audio and picture preparation, and coefficient layout."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.networks.sadtalker.batches import batched, camera_path
from export.networks.sadtalker.speech import mel_of_file, seeded_speech
from export.reference import Reference
from orchestrator.models.sadtalker.coefficients import (
    coefficient_windows,
    driving_rows,
    still_window,
)
from orchestrator.models.sadtalker.face import (
    STANDARD_POINTS,
    aligned_face,
    alignment,
    cut,
    face_square,
    network_picture,
)
from orchestrator.models.sadtalker.features import (
    SAMPLES_PER_FRAME,
    blink_ratio,
    frame_count,
    mel_windows,
    reference_rows,
)

Outputs = Iterator[tuple[str, NDArray[Any]]]

SPEECH_SAMPLES = 32_000
SPEECH_FRAMES = 50
GIVEN = ("source_coeff73", "lm68_crop", "lm68_align", "indiv_mels_idx")
"""Records that are inputs of others: results of a face tracker, and the kept rows."""

LAYOUTS = (
    ("crop", 70, 1.3, False, 2),
    ("full_still", 73, 1.0, True, 2),
    ("crop_still", 70, 1.0, True, 1),
)
"""Name, numbers per row, expression scale, True for a still head, batch."""

BLINKING_ROWS = (0, 20, 21, 43, 49)


def steps(reference: Reference) -> Outputs:
    """All `raw.*` records."""
    for name in GIVEN:
        yield f"raw.{name}", reference.records[f"raw.{name}"]
    yield from _audio(reference)
    yield from _layouts(reference)
    yield from _picture(reference)


def _audio(reference: Reference) -> Outputs:
    speech = seeded_speech(SPEECH_SAMPLES, reference.seed)
    mel = mel_of_file((speech / 32768.0).astype(np.float32))
    yield "raw.wav_int16", speech
    yield "raw.mel", mel.T
    yield "raw.indiv_mels", mel_windows(mel, SPEECH_FRAMES)[reference.records["raw.indiv_mels_idx"]]
    for frames in (50, 200):
        yield f"raw.blink_ratio_{frames}", blink_ratio(frames, Random(reference.seed))
    samples = reference.records["raw.length_frames"][:, 0].tolist()
    yield (
        "raw.length_frames",
        np.array([(n, frame_count(n) * SAMPLES_PER_FRAME, frame_count(n)) for n in samples]),
    )
    source = reference.records["raw.source_coeff73"][0]
    rows = reference_rows(source, SPEECH_FRAMES, reference.inputs["ref_blink_coeff"])
    yield "raw.refblink_ref", rows[list(BLINKING_ROWS)]


def _layouts(reference: Reference) -> Outputs:
    generated, source = reference.inputs["coeff_seq"], reference.records["raw.source_coeff73"][0]
    for name, width, scale, still, batch in LAYOUTS:
        rows = driving_rows(generated, source, width=width, expression_scale=scale, still=still)
        yield (
            f"raw.sem_{name}.source_semantics",
            np.repeat(still_window(source[:width])[None], batch, axis=0),
        )
        yield f"raw.sem_{name}.target_semantics", batched(coefficient_windows(rows), batch)
    for name, stops in (("crop", (-20.0, 30.0, 10.0)), ("full_still", (5.0,))):
        yield f"raw.sem_{name}.yaw", batched(camera_path(stops, len(generated)), 2)


def _picture(reference: Reference) -> Outputs:
    photo, records = reference.inputs["photo_u8"], reference.records
    square = face_square(records["raw.lm68_crop"], photo.shape[1], photo.shape[0])
    yield "raw.crop_rsize", np.array(square.size)
    yield "raw.crop_box", np.array(square.box)
    yield "raw.crop_quad", np.array(square.quad)
    plain, wide = (cut(photo, square, with_border=border) for border in (False, True))
    yield "raw.crop_shape_crop", np.array(plain.shape)
    yield "raw.crop_shape_ext", np.array(wide.shape)
    yield "raw.crop256_sub", network_picture(plain)[::3, ::3]
    picture = reference.inputs["source_u8"]
    found = alignment(records["raw.lm68_align"], picture.shape[1], picture.shape[0])
    yield "raw.lm3d_std", STANDARD_POINTS
    yield "raw.align_trans_params", found.row
    yield "raw.align_img_sub", aligned_face(picture, found)[::3, ::3]
