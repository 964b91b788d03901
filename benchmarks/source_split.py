"""Savings of `tpsm-neural` by encoding a face once instead of in every frame.

    python -m benchmarks.source_split [--rounds 5]

Prints CPU ms and GFLOP per frame of both parts, and the saved share in percent. All variants run in
turns within a round, one frame each on one thread, and the medians over the rounds are compared.
Key points, which every driving picture needs anyway, are left out. GFLOP count 2 for a
multiply-add, of convolutions and matrix products alone. Needs torch, for the modules and to export
seeded weights.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from benchmarks.shared import command_line, export_seeded, has_torch
from orchestrator.inference.local.inference import open_model
from orchestrator.inference.model_contract import read_repository

if TYPE_CHECKING:  # torch may be missing, which the command reports
    from export.base import ExportSpec

SEED: Final = 1
SOURCE: Final = "tpsm_neural_source"
FRAMES: Final = "tpsm_neural_frames"
WHOLE: Final = "a frame that encodes its source"

Variant: TypeAlias = Callable[[], Any]
"""Computes its part of one frame."""


def declared() -> dict[str, ExportSpec]:
    """Export declarations of both graphs over seeded modules, with example inputs."""
    import torch

    from export.networks.tpsm_neural.onnx import GRAPHS
    from export.networks.tpsm_neural.sources import NETWORKS
    from export.sources import seeded_networks

    graphs = [graph for graph in GRAPHS if graph.name in (SOURCE, FRAMES)]
    filled = seeded_networks(NETWORKS, {part for graph in graphs for part in graph.parts}, SEED)
    modules = {name: network.module for name, network in filled.items()}
    return {
        graph.name: graph.spec(modules, 1, torch.Generator().manual_seed(SEED)) for graph in graphs
    }


def eager(specs: dict[str, ExportSpec]) -> dict[str, Variant]:
    """The modules as served, and a whole frame as the upstream project computes it."""
    source, frames = specs[SOURCE].rows(1), specs[FRAMES].rows(1, halved=True)
    networks: Any = specs[FRAMES].module

    def whole() -> Any:
        picture = frames["picture"].float().permute(0, 3, 1, 2) / 255
        return networks.inpainting(
            picture,
            networks.dense_motion(picture, frames["driving_points"][:, 0], frames["source_points"]),
        )

    return {
        SOURCE: lambda: specs[SOURCE].module(*source.values()),
        FRAMES: lambda: networks(*frames.values()),
        WHOLE: whole,
    }


def exported(specs: dict[str, ExportSpec], folder: Path) -> dict[str, Variant]:
    """The exported graphs in ONNX Runtime on one thread."""
    export_seeded("tpsm-neural", (SOURCE, FRAMES), folder, SEED)
    models = read_repository(folder).models

    def variant(name: str) -> Variant:
        model = open_model(models[name])
        inputs = {
            key: np.asarray(tensor) for key, tensor in specs[name].rows(1, halved=True).items()
        }
        return lambda: model.run(inputs)

    return {name: variant(name) for name in (SOURCE, FRAMES)}


def gigaflops(variant: Variant) -> float:
    """Floating-point operations of one frame in GFLOP."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        variant()
    return float(counter.get_total_flops()) / 1e9


def cpu_ms(variant: Variant) -> float:
    """CPU time of one frame in milliseconds."""
    began = time.process_time()
    variant()
    return 1000.0 * (time.process_time() - began)


def measure(runtimes: dict[str, dict[str, Variant]], rounds: int) -> dict[str, dict[str, float]]:
    """Median CPU ms of a frame by runtime and part, over interleaved rounds after a warm-up."""
    times: dict[tuple[str, str], list[float]] = {
        (runtime, part): [] for runtime, variants in runtimes.items() for part in variants
    }
    for _ in range(1 + rounds):
        for (runtime, part), values in times.items():
            values.append(cpu_ms(runtimes[runtime][part]))
    return {
        runtime: {part: statistics.median(times[runtime, part][1:]) for part in variants}
        for runtime, variants in runtimes.items()
    }


def print_parts(title: str, parts: dict[str, float]) -> None:
    """Print both parts, their sum, the frame in one piece, and the share that the split saves."""
    total = parts[SOURCE] + parts[FRAMES]
    rows = parts | {"sum": total}
    print(title)
    for name in (SOURCE, FRAMES, "sum", WHOLE):
        if name in rows:
            print(f"  {name:34}{rows[name]:10.1f}")
    print(f"  {'saved where the source is known':34}{100.0 * parts[SOURCE] / total:10.1f} %")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return 1 where torch is missing."""
    parser = command_line("source_split", __doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    if not has_torch():
        return 1
    import torch

    torch.set_num_threads(1)
    specs = declared()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        modules = eager(specs)
        runtimes = {
            "CPU ms, ONNX Runtime": exported(specs, Path(folder)),
            "CPU ms, eager PyTorch": modules,
        }
        for title, parts in measure(runtimes, options.rounds).items():
            print_parts(title, parts)
        print_parts(
            "GFLOP, 2 for a multiply-add",
            {name: gigaflops(variant) for name, variant in modules.items()},
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
