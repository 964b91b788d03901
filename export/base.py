"""What every public model declares to the exporter: the networks of its checkpoints, and the graphs
that are served of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:  # so that shapes and configurations can be read where torch is not installed
    from torch import Tensor, nn

    from export.weights import WeightsSource

OPSET: Final = 18
"""Nothing in the graphs is newer than `GridSample` of opset 16; 18 is the lowest that the service's
contract asks for.
"""


class AxisRange(NamedTuple):
    """Lengths of a free axis that an engine is built for."""

    least: int
    usual: int
    """What the engine is made fastest for."""
    most: int


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """One graph; axis 0 of every tensor is the batch."""

    name: str
    """The Triton model's name."""
    module: nn.Module
    inputs: dict[str, Tensor]
    """Example inputs by name, in the module's order, with as many rows as the largest batch that is
    checked.
    """
    outputs: dict[str, float]
    """Output names in the module's order, each with the largest difference ONNX Runtime may have
    from torch.

    Grey levels for bytes. For other numbers it counts as a share of the output's largest value,
    where that is above 1.
    """
    free: dict[str, dict[int, str]] = field(default_factory=dict)
    """Names of the axes beside the batch whose length is free, by tensor."""
    ranges: Mapping[str, AxisRange] = field(default_factory=dict)
    """Of every free axis of an input, by the axis's name."""
    full_precision: tuple[str, ...] = ()
    """Modules ("renderer/dense_motion_network") whose own arithmetic stays in fp32 when the rest is
    halved; the outermost's always does.
    """

    @property
    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """The axes whose length is free, as `torch.onnx.export` wants them."""
        return {
            name: {0: "batch"} | self.free.get(name, {}) for name in (*self.inputs, *self.outputs)
        }

    def rows(self, batch: int, *, halved: bool = False) -> dict[str, Tensor]:
        """The first examples; `halved` cuts every free axis to half, so that two lengths of it can
        be tried.
        """
        cut = {name: tensor[:batch] for name, tensor in self.inputs.items()}
        for name, axes in self.free.items() if halved else ():
            for axis in axes if name in cut else ():
                cut[name] = cut[name].narrow(axis, 0, max(cut[name].shape[axis] // 2, 1))
        return {name: tensor.contiguous() for name, tensor in cut.items()}


@dataclass(frozen=True, slots=True)
class PublicNetwork:
    """One network of a public checkpoint."""

    source: WeightsSource
    build: Callable[[], nn.Module]
    gain: float = 1.0
    """Of the seeded weights; chosen so that signals neither die nor explode."""
    gains: Mapping[str, float] = field(default_factory=dict)
    """Of single tensors, on top of the network's."""
    constants: frozenset[str] = frozenset()
    """Tensors that seeded weights leave as the module makes them."""


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph of a model, before any weights are read."""

    name: str
    """The Triton model's name."""
    parts: tuple[str, ...]
    """Names of the networks that it is made of, in the order in which `build` takes them."""
    build: Callable[..., ExportSpec]
    """`(*parts, batch, random)` with a `torch.Generator` for the examples."""
    batches: tuple[int, ...] = (1, 3, 8)
    """Batches at which the export is compared; fewer for the renderers, whose rows cost seconds."""
    optional: bool = False
    """Not needed for video: left out without complaint if no checkpoint holds its networks."""

    def spec(self, networks: Mapping[str, nn.Module], batch: int, random: Any) -> ExportSpec:
        """The graph over filled networks with random examples of `batch` rows."""
        return self.build(*(networks[part] for part in self.parts), batch, random)
