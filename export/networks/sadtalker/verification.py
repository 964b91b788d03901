"""Upstream's recorded outputs of SadTalker, computed by this project's modules and steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.networks.sadtalker.catalogue import NETWORKS
from export.networks.sadtalker.mapping import HeadMotion, degrees, moved_key_points, rotation
from export.networks.sadtalker.renderer import FaceRenderer
from export.networks.sadtalker.spade import SpectralConv2d
from export.networks.sadtalker.verification_pipelines import end_to_end, pose_sequences
from export.networks.sadtalker.verification_steps import steps
from export.reference import Reference

Outputs: TypeAlias = Iterator[tuple[str, NDArray[Any]]]

STYLES = (3, 45)
"""Styles of the two rows of the pose records."""


class SeededNetworks:
    """Modules filled by the weight rule on first use."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._filled: dict[str, nn.Module] = {}

    def __call__(self, name: str) -> nn.Module:
        """One network by the manifest's name, in eval mode."""
        if name not in self._filled:
            self._filled[name] = self._reference.fill(NETWORKS[name](), name)
        return self._filled[name]


@torch.inference_mode()
def outputs(reference: Reference) -> Outputs:
    """Every record, the cheap ones first."""
    yield from cheap_outputs(reference)
    yield from heavy_outputs(reference)


@torch.inference_mode()
def cheap_outputs(reference: Reference) -> Outputs:
    """Outputs of the small networks, and of no network at all: a few seconds."""
    networks, inputs = SeededNetworks(reference), _tensors(reference)
    yield from steps(reference)
    yield from _key_point_motion(inputs)
    yield from _expression(networks, inputs)
    yield from _pose(networks, inputs)
    yield from pose_sequences(reference, networks)


@torch.inference_mode()
def heavy_outputs(reference: Reference) -> Outputs:
    """Outputs of the large networks and the renderings: about a minute of a processor core."""
    networks, inputs = SeededNetworks(reference), _tensors(reference)
    yield "face_3drecon.coeff", networks("face_3drecon")(inputs["face224"]).numpy()
    yield from _mappings(networks, inputs)
    extractor = networks("kp_extractor")
    yield "const.kp_extractor.down.weight", extractor.state_dict()["down.weight"].numpy()
    yield "kp_extractor.value", extractor(inputs["source_image"]).numpy()
    layers = reference.manifest["cases"]["spectral_norm"]["layers"]
    yield (
        "spectral_norm.sigma",
        np.array([_sigma(networks("generator"), layer) for layer in layers], np.float32),
    )
    yield from _renderer(networks("generator"), inputs)
    yield from end_to_end(reference, networks)


def _tensors(reference: Reference) -> dict[str, Tensor]:
    return {name: torch.from_numpy(value) for name, value in reference.inputs.items()}


def _mappings(networks: SeededNetworks, inputs: dict[str, Tensor]) -> Outputs:
    for width in (70, 73):
        motion: HeadMotion = networks(f"mapping{width}")(inputs[f"semantics{width}"])
        named = {
            "yaw": motion.yaw,
            "pitch": motion.pitch,
            "roll": motion.roll,
            "t": motion.translation,
            "exp": motion.expression,
        }
        for name, value in named.items():
            yield f"mapping{width}.{name}", value.numpy()


def _key_point_motion(inputs: dict[str, Tensor]) -> Outputs:
    motion = HeadMotion(*(inputs[f"he_{name}"] for name in ("yaw", "pitch", "roll", "t", "exp")))
    angles = {
        "yaw": degrees(motion.yaw),
        "pitch": degrees(motion.pitch),
        "roll": degrees(motion.roll),
    }
    for name, value in angles.items():
        yield f"keypoint_transformation.degree_{name}", value.numpy()
    yield "keypoint_transformation.rotation", rotation(**angles).numpy()
    canonical = inputs["kp_canonical"]
    yield "keypoint_transformation.value", moved_key_points(canonical, motion).numpy()
    yield (
        "keypoint_transformation.value_free",
        moved_key_points(canonical, motion, inputs["degrees_in"]).numpy(),
    )


def _expression(networks: SeededNetworks, inputs: dict[str, Tensor]) -> Outputs:
    network, mel = networks("audio2exp"), inputs["mel"].flatten(0, 1)
    yield (
        "audio2exp.audio_embedding",
        network.get_submodule("audio_encoder")(mel).flatten(1).numpy(),
    )
    expression = network(mel, inputs["ref_exp"].flatten(0, 1), inputs["ratio"].flatten(0, 1))
    yield "audio2exp.exp", expression.reshape(inputs["ref_exp"].shape).numpy()


def _pose(networks: SeededNetworks, inputs: dict[str, Tensor]) -> Outputs:
    network, style, pose = networks("audio2pose"), torch.tensor(STYLES), inputs["ref_pose"]
    embedding = network.get_submodule("audio_encoder")(inputs["mel32"])
    yield "audio2pose.audio_embedding", embedding.numpy()
    heard = embedding.expand(2, -1, -1)
    yield (
        "audio2pose.motion",
        network.get_submodule("netG.decoder")(heard, inputs["z"], style, pose).numpy(),
    )
    mean = network.get_submodule("netG.encoder")(inputs["pose_motion_gt"], heard, style, pose)
    yield "audio2pose_cvae_encoder.mu", mean.numpy()


def _sigma(renderer: nn.Module, layer: str) -> float:
    convolution = renderer.get_submodule(layer)
    assert isinstance(convolution, SpectralConv2d)
    return float(convolution.sigma())


STAGES = {
    "act_hourglass": "dense_motion_network.hourglass",
    "act_third": "third",
    "act_fourth": "fourth",
    "act_fc": "decoder.fc",
    "act_middle0": "decoder.G_middle_0",
    "act_middle5": "decoder.G_middle_5",
    "act_up0": "decoder.up_0",
    "act_up1": "decoder.up_1",
}
"""Recorded activation -> the module whose output it is."""


def _renderer(renderer: nn.Module, inputs: dict[str, Tensor]) -> Outputs:
    """The whole renderer, observed at its recorded stages."""
    assert isinstance(renderer, FaceRenderer)
    seen: dict[str, Tensor] = {}
    hooks = [_watch(renderer.get_submodule(path), key, seen) for key, path in STAGES.items()]
    hooks.append(
        _watch_input(renderer.get_submodule("dense_motion_network.hourglass"), "act_hg_in", seen)
    )
    hooks.append(_watch_input(renderer.get_submodule("third"), "act_deformed", seen))
    photo = renderer.encode(inputs["source_image"])
    source = inputs["kp_source"]
    frame, motion = renderer(photo, source, source + inputs["kp_driving_delta"])
    for hook in hooks:
        hook.remove()
    seen |= {
        "prediction": frame,
        "occlusion_map": motion.occlusion,
        "mask": motion.mask,
        "deformation": motion.flow,
    }
    seen["act_feature3d"] = photo.feature
    for key, value in seen.items():
        yield f"generator.{key}", value.numpy()


def _watch(module: nn.Module, key: str, seen: dict[str, Tensor]) -> Any:
    def keep(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen[key] = output

    return module.register_forward_hook(keep)


def _watch_input(module: nn.Module, key: str, seen: dict[str, Tensor]) -> Any:
    def keep(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen[key] = inputs[0]

    return module.register_forward_pre_hook(keep)
