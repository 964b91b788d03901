"""Train the network for a given time.

The losses reward shape, shut lips at bilabials, and open ones elsewhere.
"""

from __future__ import annotations

import copy
import math
import time
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from export.audio2motion.mixing import Batch, Mixer
from export.audio2motion.network import MouthNet
from export.audio2motion.targets import VISEME_NAMES
from orchestrator.rendering.motion import CLOSED, MOUTH_PARAMETERS, OPEN

BATCH_CROPS: Final = 8
_PEAK_RATE: Final = 2e-3
_WARM_UP: Final = 0.02
_MAX_SHUT_APERTURE: Final = 0.12
"""Aperture under which a viewer sees shut lips; the metrics use the same number."""
_BILABIAL_WEIGHT: Final = 4.0
"""Weight of errors where the lips press together: a missed /b/ is more visible than a false one."""
_FLICKER_WEIGHT: Final = 6.0
"""Weight of the errors' second difference.

Lips move below 15 Hz; without this weight the network flickers faster.
"""
_CLOSED_BIAS: Final = 0.6
"""Offset of the logit of `closed` after training.

Chosen on the development voices for closure recall well above 0.92.
"""
_SILENCE: Final = VISEME_NAMES.index("sil")
_PARAMETER_WEIGHTS: Final = (0.6, 1.5, 0.5, 0.7, 1.0, 0.5, 0.4)


def train(mixer: Mixer, minutes: float, seed: int, channels: int = 128) -> MouthNet:
    """A network trained for the given time.

    Its weights are the running average over the last steps.
    """
    torch.manual_seed(seed)
    network = MouthNet(channels)
    averaged = copy.deepcopy(network)
    optimiser = torch.optim.AdamW(network.parameters(), lr=_PEAK_RATE, weight_decay=0.02)
    start_s, step, losses = time.monotonic(), 0, 0.0
    while (done := (time.monotonic() - start_s) / (60 * minutes)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = _rate(done)
        loss = batch_loss(network, mixer.batch(BATCH_CROPS))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        step += 1
        _average(averaged, network, min(0.999, step / (step + 20)))
        losses = 0.99 * losses + 0.01 * loss.item()
        if step % 100 == 0:
            print(
                f"\rtraining {100 * done:3.0f} %, step {step}, loss {losses:.4f}",
                end="",
                flush=True,
            )
    print()
    with torch.no_grad():
        assert averaged.mouth.bias is not None
        averaged.mouth.bias[[CLOSED, CLOSED + len(MOUTH_PARAMETERS)]] += (
            _CLOSED_BIAS  # both frames of a pair
        )
    return averaged.eval()


def batch_loss(network: MouthNet, batch: Batch) -> Tensor:
    """The training loss of one batch."""
    truth, bilabial = torch.from_numpy(batch.mouth), torch.from_numpy(batch.bilabial)
    with torch.autocast("cpu", torch.bfloat16):
        guess, visemes = network.both(torch.from_numpy(batch.mel))
    guess = guess.float()
    pressed = 1 + (_BILABIAL_WEIGHT - 1) * truth[..., CLOSED]
    weights = torch.tensor(_PARAMETER_WEIGHTS).expand_as(guess).clone()
    weights[..., CLOSED] *= pressed
    shape = ((guess - truth).square() * weights).mean()
    speed = ((guess - truth).diff(dim=1).square() * torch.tensor(_PARAMETER_WEIGHTS)).mean()
    flicker = ((guess - truth).diff(dim=1, n=2).square() * torch.tensor(_PARAMETER_WEIGHTS)).mean()
    gap, true_gap = (
        guess[..., OPEN] * (1 - guess[..., CLOSED]),
        truth[..., OPEN] * (1 - truth[..., CLOSED]),
    )
    aperture = ((gap - true_gap).square() * pressed).mean()
    false_shut = (
        functional.relu(_MAX_SHUT_APERTURE + 0.04 - gap) * (true_gap > _MAX_SHUT_APERTURE + 0.06)
    ).mean()
    missed_shut = (
        functional.relu(gap - _MAX_SHUT_APERTURE + 0.04) * (true_gap < 0.05) * bilabial
    ).mean()
    resting = torch.from_numpy(batch.viseme == _SILENCE) & (true_gap < 0.02)
    false_open = (functional.relu(gap - 0.06) * resting).mean()
    named = functional.cross_entropy(
        visemes.float().flatten(0, 1), torch.from_numpy(batch.viseme).flatten()
    )
    return (
        shape
        + speed
        + _FLICKER_WEIGHT * flicker
        + 2 * aperture
        + 0.3 * false_shut
        + 0.5 * missed_shut
        + 2.0 * false_open
        + 0.01 * named
    )


def _rate(done: float) -> float:
    """Learning rate: a short rise, and a cosine down to zero."""
    return _PEAK_RATE * min(done / _WARM_UP, 0.5 * (1 + math.cos(math.pi * done))) + 1e-6


@torch.no_grad()
def _average(averaged: MouthNet, network: MouthNet, keep: float) -> None:
    for mean, value in zip(
        averaged.state_dict().values(), network.state_dict().values(), strict=True
    ):
        if mean.dtype.is_floating_point:
            mean.mul_(keep).add_(value, alpha=1 - keep)
        else:
            mean.copy_(value)
