"""`python -m export NAME --checkpoint PATH`: export a public model's networks.

Each is proven equal to its module before it is placed into the model repository.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, Final

from export import networks as packages
from orchestrator.core.paths import MODEL_REPOSITORY

if TYPE_CHECKING:
    from export.base import Graph
    from export.sources import Filled

MODELS: Final = {
    found.name.replace("_", "-"): f"{packages.__name__}.{found.name}"
    for found in iter_modules(packages.__path__)
}
"""Model -> package with `sources.NETWORKS` and `onnx.GRAPHS`, or one module with both.

The packages of `export/networks/`.
"""


def main(name: str, arguments: list[str]) -> int:
    """Run the command; exit status 1 and one message if a checkpoint or an export is wrong."""
    options = _parse(name, arguments)
    try:
        import onnx  # noqa: F401
        import torch
    except ImportError as missing:
        print(
            f"export: {missing.name} is not installed; "
            "it comes with `pip install 'lipsync-service[export]'`"
        )
        return 1
    from export.containers import WrongCheckpointError
    from export.parity import ExportError
    from orchestrator.inference import ContractError

    torch.set_num_threads(1)
    try:
        _export(name, options)
    except (WrongCheckpointError, ExportError, ContractError, OSError) as error:
        print(f"export: {error}")
        return 1
    return 0


def _parse(name: str, arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m export {name}", description=__doc__)
    weights = parser.add_mutually_exclusive_group(required=True)
    weights.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        metavar="PATH",
        help="a public checkpoint; repeat it for networks in other files",
    )
    weights.add_argument(
        "--seeded",
        type=int,
        metavar="N",
        help="random weights by a rule instead of a checkpoint: for tests only",
    )
    parser.add_argument(
        "--repository",
        type=Path,
        default=MODEL_REPOSITORY,
        metavar="DIR",
        help="model repository to write into",
    )
    parser.add_argument("--networks", type=names, metavar="A,B", help="only these Triton models")
    parser.add_argument(
        "--batches",
        type=_batches,
        metavar="1,3,8",
        help="batches to compare instead of the declared ones",
    )
    parser.add_argument(
        "--format",
        choices=("onnx", "tensorrt"),
        default="onnx",
        help="tensorrt: an engine for this GPU as well",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "fp16"),
        default="fp32",
        help="fp16: products in half precision, for GPUs",
    )
    return parser.parse_args(arguments)


def names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _batches(text: str) -> tuple[int, ...]:
    batches = tuple(int(part) for part in text.split(","))
    if not batches or min(batches) < 1:
        raise argparse.ArgumentTypeError("batches are at least 1")
    return batches


def _export(name: str, options: argparse.Namespace) -> None:
    from export.engine import require_tensorrt
    from export.graph_export import export_graph

    if options.format == "tensorrt":
        require_tensorrt()  # before minutes of work
    graphs: Sequence[Graph] = declarations(name, "onnx").GRAPHS
    graphs = _selected(graphs, options.networks) if options.networks else graphs
    networks = _fill(name, graphs, options)
    for graph in graphs:
        if all(part in networks for part in graph.parts):
            export_graph(graph, networks, options)
        else:
            print(f"{graph.name}: skipped: no given checkpoint holds its weights")


def declarations(name: str, part: str) -> Any:
    """The module of a model that holds its `sources` or its `onnx` declarations."""
    module = import_module(MODELS[name])
    return import_module(f"{module.__name__}.{part}") if hasattr(module, "__path__") else module


def _selected(graphs: Sequence[Graph], names: tuple[str, ...]) -> list[Graph]:
    from export.parity import ExportError

    known = {graph.name: graph for graph in graphs}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ExportError(f"no network {', '.join(unknown)}; this model has {', '.join(known)}")
    return [known[name] for name in names]


def _fill(name: str, graphs: Sequence[Graph], options: argparse.Namespace) -> dict[str, Filled]:
    from export.sources import checkpoint_networks, seeded_networks
    from export.weights import Checkpoint

    networks = declarations(name, "sources").NETWORKS
    wanted = dict.fromkeys(part for graph in graphs for part in graph.parts)
    if options.seeded is not None:
        return seeded_networks(networks, wanted, options.seeded)
    needed = {
        part for graph in graphs if options.networks or not graph.optional for part in graph.parts
    }
    checkpoints = [Checkpoint(path) for path in options.checkpoint]
    return checkpoint_networks(networks, wanted, set(wanted) - needed, checkpoints)
