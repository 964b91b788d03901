"""Prints what `tpsm-neural` saves by encoding a face once instead of in every frame: CPU time of
one thread, and operations.

`python -m benchmarks.source_split [--rounds 5]`. Needs torch, for the modules and to export them
with seeded weights. All ways take turns within a round, one frame each, and the medians over the
rounds are compared. Key points, which are found in every driving picture anyway, are left out.
GFLOP count 2 for a multiply-add, of convolutions and matrix products alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from orchestrator.inference.local.inference import open_model
from orchestrator.inference.model_contract import read_repository

if TYPE_CHECKING:  # so that the command can say that torch is missing
    from export.base import ExportSpec

SEED: Final = 1
SOURCE: Final = "tpsm_neural_source"
FRAMES: Final = "tpsm_neural_frames"
WHOLE: Final = "a frame that encodes its source"

Way: TypeAlias = Callable[[], Any]
"""Computes its part of one frame."""


def declared() -> dict[str, ExportSpec]:
    """Both graphs over seeded modules, with example inputs."""
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


def eager(specs: dict[str, ExportSpec]) -> dict[str, Way]:
    """The modules as they are served, and the same frame in one piece, as upstream computes it."""
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


def exported(specs: dict[str, ExportSpec], folder: Path) -> dict[str, Way]:
    """The graphs as users export them, in ONNX Runtime on one thread."""
    arguments = [
        "tpsm-neural",
        "--seeded",
        str(SEED),
        "--networks",
        f"{SOURCE},{FRAMES}",
        "--repository",
        str(folder),
        "--batches",
        "1",
    ]
    subprocess.run(
        [sys.executable, "-m", "export", *arguments], check=True, stdout=subprocess.DEVNULL
    )
    models = read_repository(folder).models

    def way(name: str) -> Way:
        model = open_model(models[name])
        inputs = {
            key: np.asarray(tensor) for key, tensor in specs[name].rows(1, halved=True).items()
        }
        return lambda: model.run(inputs)

    return {name: way(name) for name in (SOURCE, FRAMES)}


def gigaflops(way: Way) -> float:
    """Operations of one frame."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        way()
    return float(counter.get_total_flops()) / 1e9


def cpu_ms(way: Way) -> float:
    """CPU time of one frame."""
    began = time.process_time()
    way()
    return 1000.0 * (time.process_time() - began)


def measure(runtimes: dict[str, dict[str, Way]], rounds: int) -> dict[str, dict[str, float]]:
    """Medians of the CPU ms of a frame over interleaved rounds, by runtime and part; a first round
    warms up and is not counted.
    """
    times: dict[tuple[str, str], list[float]] = {
        (runtime, part): [] for runtime, ways in runtimes.items() for part in ways
    }
    for _ in range(1 + rounds):
        for (runtime, part), values in times.items():
            values.append(cpu_ms(runtimes[runtime][part]))
    return {
        runtime: {part: statistics.median(times[runtime, part][1:]) for part in ways}
        for runtime, ways in runtimes.items()
    }


def print_parts(title: str, parts: dict[str, float]) -> None:
    """Both parts, their sum, what was measured of it in one piece, and the share that the split
    saves.
    """
    total = parts[SOURCE] + parts[FRAMES]
    rows = parts | {"sum": total}
    print(title)
    for name in (SOURCE, FRAMES, "sum", WHOLE):
        if name in rows:
            print(f"  {name:34}{rows[name]:10.1f}")
    print(f"  {'saved where the source is known':34}{100.0 * parts[SOURCE] / total:10.1f} %")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 where torch is missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.source_split", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("torch") is None:
        print("torch is not installed; it comes with: pip install 'lipsync-service[export]'")
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
            "GFLOP, 2 for a multiply-add", {name: gigaflops(way) for name, way in modules.items()}
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
