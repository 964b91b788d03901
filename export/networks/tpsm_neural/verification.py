"""All recorded outputs of upstream's TPSM, computed by this project's modules.

From the same seeded weights and inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.networks.tpsm_neural.animation import (
    MotionMode,
    Networks,
    SourceFace,
    animate,
    carry_over,
    prepare_source,
)
from export.networks.tpsm_neural.dense_motion import (
    DenseMotion,
    DenseMotionNetwork,
    transformations,
)
from export.networks.tpsm_neural.inpainting import InpaintingNetwork, SourceEncoding, warp
from export.networks.tpsm_neural.key_points import (
    POINTS_PER_SPLINE,
    SPLINES,
    AvdNetwork,
    BackgroundPredictor,
    KeyPointDetector,
)
from export.networks.tpsm_neural.pictures import quantise_picture, resize_picture
from export.networks.tpsm_neural.resnet import STAGES
from export.networks.tpsm_neural.splines import coordinate_grid, fit_splines, heat_maps
from export.reference import Reference
from orchestrator.models.tpsm_neural.motion import hull_area, motion_scale, relative_points

Outputs: TypeAlias = Iterator[tuple[str, NDArray[Any]]]

NETWORKS = {
    "kp_detector": KeyPointDetector,
    "bg_predictor": BackgroundPredictor,
    "dense_motion_network": DenseMotionNetwork,
    "inpainting_network": InpaintingNetwork,
    "avd_network": AvdNetwork,
}
"""Section of the checkpoint -> module of this package."""

TOLERANCES = {
    **{f"kp.enc.{stage}": 2e-5 for stage in STAGES},
    "standard.prediction_crop": 1.3e-3,
    "demo.standard": 1.3e-3,
    "demo.relative": 1.6e-3,
    "demo.avd": 2e-2,
}
"""Tolerances of records without a stated noise.

Crop and demo: as the predictions they are made of. Mode avd: its key points leave the picture and
crowd, which makes the splines' systems stiff; between float32 and float64 the frames of seeds 1 to
3 differ by up to 9e-3.
"""

CROP = slice(96, 160)
"""Rows and columns of `standard.prediction_crop`."""


def outputs(reference: Reference) -> Outputs:
    """All records: the cheap stages first, then the renderings (about 13 frames)."""
    yield from preprocessing(reference)
    yield from synthetic_stages(reference)
    yield from relative_motion(reference)
    yield from key_points(reference)
    yield from renderings(reference)


def preprocessing(reference: Reference) -> Outputs:
    """A photo resized for the networks."""
    yield "pre.resized", resize_picture(reference.inputs["photo"])


@torch.no_grad()
def renderings(reference: Reference) -> Outputs:
    """Dense motion and pictures of every case, and the demo loop."""
    networks = fill_networks(reference)
    inputs = _tensors(reference)
    points = {
        name: networks.key_points(inputs[name]) for name in ("source", "driving", "driving_initial")
    }
    encoding = networks.inpainting.encode(inputs["source"])
    yield from _pairs(reference, networks, inputs, points, encoding)
    yield from _relative(networks, inputs, points, encoding)
    yield from _demo(networks, inputs)


def fill_networks(reference: Reference) -> Networks:
    """The four networks of the demo with seeded weights."""
    fill: Any = reference.fill
    return Networks(
        key_points=fill(KeyPointDetector(), "kp_detector"),
        dense_motion=fill(DenseMotionNetwork(), "dense_motion_network"),
        inpainting=fill(InpaintingNetwork(), "inpainting_network"),
        avd=fill(AvdNetwork(), "avd_network"),
    )


def _tensors(reference: Reference) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in reference.inputs.items()}


def _filled(reference: Reference, network: str) -> nn.Module:
    return reference.fill(NETWORKS[network](), network)


@torch.no_grad()
def key_points(reference: Reference) -> Outputs:
    """The backbone stage by stage, and the three networks of key points and background."""
    inputs, detector, avd = (
        _tensors(reference),
        _filled(reference, "kp_detector"),
        _filled(reference, "avd_network"),
    )
    backbone: Any = detector.fg_encoder
    for name, output in zip(STAGES, backbone.stages(inputs["source"]), strict=True):
        yield f"kp.enc.{name}", output.numpy()
    points = {name: detector(inputs[name]) for name in ("source", "driving", "driving_initial")}
    for name, values in points.items():
        yield f"kp.{name}", values.numpy()
    yield (
        "bg.param",
        _filled(reference, "bg_predictor")(inputs["source"], inputs["driving"]).numpy(),
    )
    yield "avd.kp", avd(points["source"], points["driving"]).numpy()
    yield "avd.kp_synthetic", avd(inputs["kp_a"], inputs["kp_a"] + inputs["kp_offset"]).numpy()


def synthetic_stages(reference: Reference) -> Outputs:
    """The stages without weights between key points and the hourglass, with large motion."""
    inputs = _tensors(reference)
    source, driving = inputs["kp_a"], inputs["kp_a"] + inputs["kp_offset"]
    small = DenseMotionNetwork().down(inputs["source"])
    grid = coordinate_grid(small.shape[2], small.shape[3], small)
    splines = fit_splines(
        *(points.reshape(-1, SPLINES, POINTS_PER_SPLINE, 2) for points in (driving, source))
    )
    yield "synthetic.down", small.numpy()
    yield "synthetic.heatmap", heat_maps(driving, source, grid).numpy()
    yield "synthetic.tps_theta", splines.theta.numpy()
    yield "synthetic.tps_control_params", splines.weights.numpy()
    yield (
        "synthetic.transformations",
        transformations(driving, source, grid, _jittered_background(inputs)).numpy(),
    )


def _jittered_background(inputs: dict[str, Tensor]) -> Tensor:
    matrix = torch.eye(3).repeat(len(inputs["bg_jitter"]), 1, 1)
    matrix[:, :2] += inputs["bg_jitter"]
    return matrix


def relative_motion(reference: Reference) -> Outputs:
    """Large seeded motion of one item; the first driving face is 0.7 times the source."""
    source = reference.inputs["kp_a"][:1]
    initial = np.float32(0.7) * source + np.float32(0.05)
    driving = np.asarray(initial + np.float32(0.5) * reference.inputs["kp_offset"][:1], np.float32)
    yield "relsyn.hull_areas", _hull_areas(source, initial)
    yield (
        "relsyn.kp",
        relative_points(source, driving, initial, motion_scale(source[0], initial[0])),
    )


def _hull_areas(source: NDArray[np.float32], initial: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.array([hull_area(source[0]), hull_area(initial[0])], dtype=np.float32)


def _pairs(
    reference: Reference,
    networks: Networks,
    inputs: dict[str, Tensor],
    points: dict[str, Tensor],
    encoding: SourceEncoding,
) -> Outputs:
    """Both batch items at once, with three kinds of points.

    Points from pictures, the same with a moving background, and large seeded motion.
    """
    source, standard = inputs["source"], (points["driving"], points["source"])
    background = _filled(reference, "bg_predictor")(source, inputs["driving"])
    synthetic = (inputs["kp_a"] + inputs["kp_offset"], inputs["kp_a"])
    cases = (
        ("standard", standard, None),
        ("bg", standard, background),
        ("synthetic", synthetic, _jittered_background(inputs)),
    )
    for case, (driving_points, source_points), matrix in cases:
        motion = networks.dense_motion(source, driving_points, source_points, matrix)
        prediction = networks.inpainting.render(source, encoding, motion).numpy()
        yield from _motion(case, motion)
        yield f"{case}.prediction", prediction
        if case != "bg":
            yield f"{case}.contribution_maps", motion.contributions.numpy()
            yield f"{case}.deformed_source", motion.deformed_source.numpy()
            yield f"{case}.deformed", warp(source, motion.deformation).numpy()
        if case == "standard":
            yield "standard.prediction_crop", prediction[:, :, CROP, CROP]


def _motion(case: str, motion: DenseMotion) -> Outputs:
    yield f"{case}.deformation", motion.deformation.numpy()
    for level, occlusion in enumerate(motion.occlusion):
        yield f"{case}.occlusion_map{level}", occlusion.numpy()


def _relative(
    networks: Networks,
    inputs: dict[str, Tensor],
    points: dict[str, Tensor],
    encoding: SourceEncoding,
) -> Outputs:
    """Each batch item separately, since the scale belongs to one face."""
    for item in range(2):
        one = slice(item, item + 1)
        source, driving, initial = (
            points[name][one] for name in ("source", "driving", "driving_initial")
        )
        moved = carry_over(networks, source, driving, initial, MotionMode.RELATIVE)
        motion = networks.dense_motion(inputs["source"][one], moved, source)
        features = SourceEncoding(*(level[one] for level in encoding))
        yield f"relative{item}.hull_areas", _hull_areas(source.numpy(), initial.numpy())
        yield f"relative{item}.kp", moved.numpy()
        yield from _motion(f"relative{item}", motion)
        yield (
            f"relative{item}.prediction",
            networks.inpainting.render(inputs["source"][one], features, motion).numpy(),
        )


def _demo(networks: Networks, inputs: dict[str, Tensor]) -> Outputs:
    """The whole loop on the first item: a video of two pictures."""
    source: SourceFace = prepare_source(networks, inputs["source"][:1])
    video = (inputs["driving_initial"][:1], inputs["driving"][:1])
    for mode in MotionMode:
        frames = np.stack(list(animate(networks, source, video, mode)))
        yield f"demo.{mode.value}", frames
        if mode is MotionMode.STANDARD:
            yield "post.ubyte", quantise_picture(frames[0])
