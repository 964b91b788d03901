"""All recorded outputs of upstream's Audio2Head, computed by this project's modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from export.networks.audio2head import pipeline
from export.networks.audio2head.audio2kp import frame_by_frame
from export.networks.audio2head.generator import moved_picture
from export.networks.audio2head.key_points import KeyPoints, soft_key_points
from export.networks.audio2head.pipeline import NETWORKS, Audio2Head
from export.networks.audio2head.synthetic_speech import speech
from export.reference import Reference
from orchestrator.models.audio2head.chunks import chunk_poses, chunks
from orchestrator.models.audio2head.features import feature_rows, frame_blocks, normalised
from orchestrator.models.audio2head.harvest_pitch import harvest
from orchestrator.models.audio2head.pose_boxes import (
    EDGES,
    SIZE,
    THICKNESS,
    WHITE,
    box_picture,
    box_points,
    denormalised,
)

Outputs = Iterator[tuple[str, NDArray[Any]]]

POSE_THRESHOLD = 0.95
"""Share of black in the seeded pose pictures: most of a real one is black."""


def outputs(reference: Reference) -> Outputs:
    """Record key and complete output, the cheap ones first."""
    with torch.no_grad():
        yield from feature_outputs(reference)
        yield from pose_box_outputs(reference)
        networks = seeded_networks(reference)
        yield from constant_outputs(networks)
        yield from pose_outputs(reference, networks)
        yield from kp_detector_outputs(reference, networks)
        yield from generator_outputs(reference, networks)
        yield from audio2kp_outputs(reference, networks)
        yield from program_outputs(reference, networks)


def seeded_networks(reference: Reference) -> Audio2Head:
    """All four networks, filled by the weight rule."""
    return Audio2Head(**{name: reference.fill(build(), name) for name, build in NETWORKS.items()})  # type: ignore[arg-type]


def feature_outputs(reference: Reference) -> Outputs:
    """The test speech, its pitch and its rows; they are computed from the recorded speech."""
    recorded = reference.records["raw.wav_int16"]
    yield "raw.wav_int16", speech(len(recorded), reference.seed)
    signal = normalised(recorded)
    pitch_hz = harvest(signal)
    yield "audio_features.f0_raw", pitch_hz
    yield "audio_features.features", feature_rows(signal, pitch_hz)


def pose_box_outputs(reference: Reference) -> Outputs:
    """Poses, corners and pose pictures."""
    poses = denormalised(reference.inputs["pose_unit"])
    yield "pose_boxes.pose", poses
    yield "pose_boxes.box_points", np.stack([box_points(pose) for pose in poses])
    yield "pose_boxes.box_bits", bits(np.stack([box_picture(pose) for pose in poses]))
    yield (
        "pose_boxes.box_bits_opencv_ge_4_13",
        bits(np.stack([clipped_box_picture(pose) for pose in poses])),
    )


def constant_outputs(networks: Audio2Head) -> Outputs:
    """Constants that modules start from and checkpoints need not change."""
    detector_bias, audio_bias = networks.kp_detector.jacobian.bias, networks.audio2kp.jacobian.bias
    assert detector_bias is not None
    assert audio_bias is not None
    yield "const.kp_detector.down.weight", networks.kp_detector.down.weight.numpy()
    yield "const.kp_detector.jacobian.bias", detector_bias.detach().numpy()
    yield (
        "const.generator.dense_motion_network.down.weight",
        networks.generator.dense_motion_network.down.weight.numpy(),
    )
    yield "const.audio2kp.down_id.weight", networks.audio2kp.down_id.weight.numpy()
    yield "const.audio2kp.down_pose.weight_row0", networks.audio2kp.down_pose.weight[:1].numpy()
    yield "const.audio2kp.jacobian.bias", audio_bias.detach().numpy()


def pose_outputs(reference: Reference, networks: Audio2Head) -> Outputs:
    """Embeddings and poses of `audio2pose`."""
    pictures, audio = tensor(reference, "source_image"), tensor(reference, "audio12")
    network = networks.audio2pose
    yield "audio2pose.em_img", network.em_img(pictures).numpy()
    yield "audio2pose.em_audio", network.embed_audio(audio.flatten(0, 1)).numpy()
    yield "audio2pose.pose", network(pictures[:1], audio).numpy()


def kp_detector_outputs(reference: Reference, networks: Audio2Head) -> Outputs:
    """Logits and key points of the source picture."""
    logits, jacobian_maps = networks.kp_detector.maps(tensor(reference, "source_image"))
    points = soft_key_points(logits, jacobian_maps)
    yield "kp_detector.pred_feature", logits.numpy()
    yield "kp_detector.value", points.value.numpy()
    yield "kp_detector.jacobian", points.jacobian.numpy()


def generator_outputs(reference: Reference, networks: Audio2Head) -> Outputs:
    """Frames and motion between seeded key points."""
    pictures, value = tensor(reference, "source_image"), tensor(reference, "kp_source")
    source = KeyPoints(value, torch.eye(2) + tensor(reference, "kp_source_jac"))
    driving = KeyPoints(
        value + tensor(reference, "kp_driving_delta"),
        torch.eye(2) + tensor(reference, "kp_driving_jac"),
    )
    prediction, motion = networks.generator(pictures, source, driving)
    yield "generator.prediction", prediction.numpy()
    yield "generator.occlusion_map", motion.occlusion.numpy()
    yield "generator.mask", motion.mask.numpy()
    yield "generator.deformation", motion.flow.numpy()
    yield "generator.sparse_deformed", motion.warped.numpy()
    yield "generator.deformed", moved_picture(pictures, motion.flow).numpy()


def audio2kp_outputs(reference: Reference, networks: Audio2Head) -> Outputs:
    """Embedding, logits and key points of a seeded chunk."""
    network = networks.audio2kp
    pose = (tensor(reference, "pose64") > POSE_THRESHOLD).float() * 255
    audio_maps = network.embed(tensor(reference, "audio64"))
    yield "audio2kp.audio_embedding", audio_maps.numpy()
    logits, jacobian_maps = network.maps(
        network.features(audio_maps, pose, tensor(reference, "source_image")[:1])
    )
    yield "audio2kp.pred_feature", logits.numpy()
    points = frame_by_frame(soft_key_points(logits, jacobian_maps))
    yield "audio2kp.value", points.value.numpy()
    yield "audio2kp.jacobian", points.jacobian.numpy()


def program_outputs(reference: Reference, networks: Audio2Head) -> Outputs:
    """Upstream's whole program in two halves: audio to poses, recorded poses to frames.

    A corner is truncated to whole pixels, so that the last bit of a pose could change a picture,
    and with it everything after it.
    """
    signal = normalised(reference.records["raw.wav_int16"])
    blocks = frame_blocks(feature_rows(signal, harvest(signal)))
    picture = pipeline.network_picture(reference.inputs["source_u8"])
    yield "e2e_program.pose", pipeline.poses(networks, picture, blocks)
    boxes = np.stack([box_picture(pose) for pose in reference.records["e2e_program.pose"]])
    chosen = chunks(len(blocks))
    yield "e2e_program.box_bits_chunk0", bits(chunk_poses(boxes, chosen[0]))
    kept: list[KeyPoints] = []
    for index, chunk in enumerate(chosen):
        points = pipeline.chunk_key_points(
            networks, picture, blocks, chunk_poses(boxes, chunk), chunk
        )
        yield f"e2e_program.kp_value_chunk{index}", points.value.numpy()
        yield f"e2e_program.kp_jacobian_chunk{index}", points.jacobian.numpy()
        kept.append(KeyPoints(*(part[0, chunk.kept.start : chunk.kept.stop] for part in points)))
    frames = pipeline.frames(
        networks, picture, KeyPoints(*(torch.cat(part) for part in zip(*kept, strict=True)))
    )
    yield "e2e_program.frames_u8", frames
    yield "e2e_program.frame0_u8", frames[0]
    yield "e2e_program.frame50_u8", frames[50]


def tensor(reference: Reference, name: str) -> Tensor:
    """A seeded input."""
    return torch.from_numpy(reference.inputs[name])


def clipped_box_picture(pose: NDArray[np.float32]) -> NDArray[np.uint8]:
    """`box_picture` as OpenCV draws it since 4.13.

    A thick line's ends are first moved, in whole pixels, to its thickness off the picture. Where a
    line leaves the picture its slope changes a little. Kept to show by how much; the network never
    gets it.
    """
    points, near = (
        box_points(pose),
        (-THICKNESS, -THICKNESS, SIZE + 2 * THICKNESS, SIZE + 2 * THICKNESS),
    )
    lines = [
        *zip(points, np.roll(points, -1, axis=0), strict=True),
        *((points[first], points[second]) for first, second in EDGES),
    ]
    picture = np.zeros((SIZE, SIZE), np.uint8)
    for begin, end in lines:
        visible, begin, end = cv2.clipLine(near, begin.tolist(), end.tolist())
        if visible:
            cv2.line(picture, begin, end, WHITE, THICKNESS)
    return picture


def bits(boxes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pose pictures `[n, 256, 256]` as `[n, 8192]`, a bit per pixel."""
    return np.packbits(boxes.reshape(len(boxes), -1) > 0, axis=1)
