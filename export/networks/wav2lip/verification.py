"""All recorded outputs of upstream's Wav2Lip, computed by this project's modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from export.networks.wav2lip.detection import decode, priors, suppress
from export.networks.wav2lip.frames import Box, network_faces, pasted, smoothed
from export.networks.wav2lip.generator import Generator
from export.networks.wav2lip.quality_discriminator import QualityDiscriminator
from export.networks.wav2lip.s3fd import S3fd
from export.networks.wav2lip.syncnet import SyncNet
from export.reference import Reference
from export.verify import Outputs
from orchestrator.audio.features.decibel_mel import decibel_mel
from orchestrator.audio.features.log_mel import filter_bank
from orchestrator.models.wav2lip.features import MEL, chunk_starts

RECORDED_CHUNKS: Final = (
    (331, 25.0),
    (331, 30.0),
    (331, 29.97),
    (331, 24.0),
    (90, 60.0),
    (16, 25.0),
)
"""(mel frames, frames per second) of the records `chunks.0` to `chunks.5`, for every seed."""

RECORDED_BOX: Final = Box(top=20, bottom=110, left=35, right=120)
"""Crop of the recorded pipeline, the same for every seed."""

SHORTER_MEL_SAMPLES: Final = 12_345


@torch.no_grad()
def outputs(reference: Reference) -> Outputs:
    """Outputs in the order of the live path, so that the first mismatch names the faulty stage."""
    yield from mel_outputs(reference)
    yield from frame_outputs(reference)
    yield from detection_outputs(reference)
    generator = reference.fill(Generator(), "generator")
    yield from generator_outputs(reference, generator)
    yield from pipeline_outputs(reference, generator)
    yield from syncnet_outputs(reference)
    discriminator = reference.fill(QualityDiscriminator(), "visual_quality_disc")
    yield "disc.out", discriminator(_input(reference, "disc_frames")).numpy()
    yield from s3fd_outputs(reference)


def mel_outputs(reference: Reference) -> Outputs:
    """Filter bank and spectrograms, `[80, frames]` as upstream lays them out."""
    wave = reference.inputs["wave"]
    yield "mel.basis", filter_bank(MEL)
    yield "mel.out", decibel_mel(wave, MEL).T
    yield f"mel.out_{SHORTER_MEL_SAMPLES}", decibel_mel(wave[:SHORTER_MEL_SAMPLES], MEL).T


def frame_outputs(reference: Reference) -> Outputs:
    """Windows of mel, and smoothed face boxes.

    The unsmoothed ones are an input that only the records hold.
    """
    for index, (mel_frames, fps) in enumerate(RECORDED_CHUNKS):
        yield f"chunks.{index}", chunk_starts(mel_frames, fps)
    boxes = reference.records["boxes.in"]
    yield "boxes.in", boxes
    yield "boxes.out", smoothed(boxes)
    yield "boxes3.out", smoothed(boxes[:3])


def detection_outputs(reference: Reference) -> Outputs:
    """Twelve candidates of one level.

    Their offsets, cells and scores are inputs that only the records hold.
    """
    offsets, recorded = (
        reference.records["s3fd.decode.loc"],
        reference.records["s3fd.decode.priors"],
    )
    prior_boxes = _priors_of_cells(recorded)
    boxes = decode(torch.from_numpy(offsets), prior_boxes)
    yield "s3fd.decode.loc", offsets
    yield "s3fd.decode.priors", prior_boxes.numpy()
    yield "s3fd.decode.boxes", boxes.numpy()
    candidates = np.concatenate(
        (boxes[0].numpy(), reference.records["s3fd.nms.dets"][:, 4:]), axis=1
    )
    yield "s3fd.nms.dets", candidates
    yield "s3fd.nms.keep", np.array(suppress(candidates))


def generator_outputs(reference: Reference, generator: Any) -> Outputs:
    """Every stage, then the picture."""
    audio = generator.audio_encoder(_input(reference, "mel"))
    yield "gen.audio_encoder", audio.numpy()
    features = generator.encode_face(_input(reference, "face"))
    yield from _numbered("gen.face_encoder_blocks", features)
    stages = generator.decode_stages(audio, features)
    yield from _numbered("gen.face_decoder_blocks", stages)
    last = generator.output_block[0](torch.cat((stages[-1], features[0]), dim=1))
    yield "gen.output_block.0", last.numpy()
    yield "gen.out", generator(_input(reference, "mel"), _input(reference, "face")).numpy()


def pipeline_outputs(reference: Reference, generator: Any) -> Outputs:
    """One frame with two windows of mel, from crop to paste."""
    frame = reference.inputs["frame"]
    faces = network_faces([frame, frame], [RECORDED_BOX, RECORDED_BOX])
    yield "pipe.batch_face", faces
    patches = generator(_input(reference, "mel"), torch.from_numpy(faces)).numpy()
    for index, patch in enumerate(patches):
        yield f"pipe.frame{index}", pasted(frame, patch, RECORDED_BOX)


def syncnet_outputs(reference: Reference) -> Outputs:
    """Both embeddings and their cosine."""
    syncnet = reference.fill(SyncNet(), "syncnet")
    audio, face = syncnet(_input(reference, "sync_mel"), _input(reference, "sync_window"))
    yield "sync.audio", audio.numpy()
    yield "sync.face", face.numpy()
    yield "sync.cosine", torch.cosine_similarity(audio, face).numpy()


def s3fd_outputs(reference: Reference) -> Outputs:
    """Raw classes and boxes of the six levels."""
    detector = reference.fill(S3fd(), "s3fd")
    for level, (classes, boxes) in enumerate(detector(_input(reference, "s3fd_image")), start=1):
        yield f"s3fd.cls{level}", classes.numpy()
        yield f"s3fd.reg{level}", boxes.numpy()


def _priors_of_cells(recorded: NDArray[Any]) -> torch.Tensor:
    """Priors of the cells of the recorded ones."""
    stride = round(float(recorded[0, 0, 2]) / 4)
    columns, rows = torch.from_numpy(np.floor(recorded[..., :2] / stride)).unbind(dim=-1)
    return priors(rows, columns, stride)


def _input(reference: Reference, name: str) -> torch.Tensor:
    return torch.from_numpy(reference.inputs[name])


def _numbered(prefix: str, tensors: list[torch.Tensor]) -> Iterator[tuple[str, NDArray[Any]]]:
    for index, tensor in enumerate(tensors):
        yield f"{prefix}.{index}", tensor.numpy()
