"""Declarations of a public model for the exporter: checkpoint networks and served graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:  # so that shapes and configurations can be read where torch is not installed
    from torch import Tensor, nn

    from export.weights import WeightsSource

OPSET: Final = 18
"""ONNX operator set of the graphs.

Nothing in the graphs is newer than `GridSample` of opset 16; 18 is the lowest that the service's
contract requires.
"""


class AxisRange(NamedTuple):
    """Lengths of a free axis that an engine is built for."""

    least: int
    usual: int
    """Length for which the engine is optimised."""
    most: int


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """One graph; axis 0 of every tensor is the batch."""

    name: str
    """Name of the Triton model."""
    module: nn.Module
    inputs: dict[str, Tensor]
    """Example inputs by name, in the module's order.

    With as many rows as the largest batch that is checked.
    """
    outputs: dict[str, float]
    """Output names in the module's order, with the tolerance of ONNX Runtime against torch.

    Grey levels for bytes. For other numbers it counts as a share of the output's largest value,
    where that is above 1.
    """
    free: dict[str, dict[int, str]] = field(default_factory=dict)
    """Names of the axes beside the batch whose length is free, by tensor."""
    ranges: Mapping[str, AxisRange] = field(default_factory=dict)
    """Range of every free axis of an input, by the axis's name."""
    full_precision: tuple[str, ...] = ()
    """Modules ("renderer/dense_motion_network") whose own arithmetic stays in fp32.

    The outermost module's always does.
    """

    @property
    def dynamic_axes(self) -> dict[str, dict[int, str]]:
        """The free axes in the form of `torch.onnx.export`."""
        return {
            name: {0: "batch"} | self.free.get(name, {}) for name in (*self.inputs, *self.outputs)
        }

    def rows(self, batch: int, *, halved: bool = False) -> dict[str, Tensor]:
        """The first examples; `halved` cuts every free axis to half, to test a second length."""
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
    """Gain of the seeded weights; chosen so that signals neither die nor explode."""
    gains: Mapping[str, float] = field(default_factory=dict)
    """Gains of single tensors, on top of the network's."""
    constants: frozenset[str] = frozenset()
    """Tensors that seeded weights leave as the module initialises them."""


@dataclass(frozen=True, slots=True)
class Graph:
    """One graph of a model, before any weights are read."""

    name: str
    """Name of the Triton model."""
    parts: tuple[str, ...]
    """Names of its networks, in the order of the parameters of `build`."""
    build: Callable[..., ExportSpec]
    """`(*parts, batch, random)` with a `torch.Generator` for the examples."""
    batches: tuple[int, ...] = (1, 3, 8)
    """Batches at which the export is compared; fewer for the renderers, whose rows cost seconds."""
    optional: bool = False
    """True if not needed for video: skipped silently if no checkpoint holds its networks."""

    def spec(self, networks: Mapping[str, nn.Module], batch: int, random: Any) -> ExportSpec:
        """The graph over filled networks with random examples of `batch` rows."""
        return self.build(*(networks[part] for part in self.parts), batch, random)
