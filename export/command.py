"""`python -m export NAME --checkpoint PATH`: a public model's networks into the model repository, each proven equal to its module."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from export.base import Graph
    from export.sources import Filled

MODELS: Final = {
    "wav2lip": "export.networks.wav2lip",
    "sadtalker": "export.networks.sadtalker",
    "audio2head": "export.networks.audio2head",
    "tpsm-neural": "export.networks.tpsm_neural",
}
"""Model -> package with `sources.NETWORKS` and `onnx.GRAPHS`."""

REPOSITORY: Final = Path(__file__).parent.parent / "model_repository"

VERSION: Final = "1"


def main(name: str, arguments: list[str]) -> int:
    """Exit status 1, and one message, if a checkpoint is wrong or an export is not what it should be."""
    options = _parse(name, arguments)
    try:
        import onnx  # noqa: F401
        import torch
    except ImportError as missing:
        print(f"export: {missing.name} is not installed; it comes with `pip install 'lipsync-service[export]'`")
        return 1
    from export.containers import WrongCheckpointError
    from export.to_onnx import ExportError
    from orchestrator.inference.repository import ContractError

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
        "--checkpoint", type=Path, action="append", metavar="PATH", help="a public checkpoint; repeat it for networks in other files"
    )
    weights.add_argument("--seeded", type=int, metavar="N", help="random weights by a rule instead of a checkpoint: for tests only")
    parser.add_argument("--repository", type=Path, default=REPOSITORY, metavar="DIR", help="model repository to write into")
    parser.add_argument("--networks", type=_names, metavar="A,B", help="only these Triton models")
    parser.add_argument("--batches", type=_batches, metavar="1,3,8", help="batches to compare instead of the declared ones")
    parser.add_argument("--format", choices=("onnx", "tensorrt"), default="onnx")
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp32")
    options = parser.parse_args(arguments)
    if options.format == "tensorrt":
        parser.error("--format tensorrt is not available in this version; export ONNX, which Triton runs on a GPU as well")
    if options.precision == "fp16":
        parser.error("--precision fp16 is not available in this version; export fp32")
    return options


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)


def _batches(text: str) -> tuple[int, ...]:
    batches = tuple(int(part) for part in text.split(","))
    if not batches or min(batches) < 1:
        raise argparse.ArgumentTypeError("batches are at least 1")
    return batches


def _export(name: str, options: argparse.Namespace) -> None:
    graphs: Sequence[Graph] = import_module(f"{MODELS[name]}.onnx").GRAPHS
    graphs = _selected(graphs, options.networks) if options.networks else graphs
    networks = _fill(name, graphs, options)
    for graph in graphs:
        if all(part in networks for part in graph.parts):
            _export_graph(graph, networks, options)
        else:
            print(f"{graph.name}: left out, no checkpoint given holds weights that fit it")


def _selected(graphs: Sequence[Graph], names: tuple[str, ...]) -> list[Graph]:
    from export.to_onnx import ExportError

    known = {graph.name: graph for graph in graphs}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ExportError(f"no network {', '.join(unknown)}; this model has {', '.join(known)}")
    return [known[name] for name in names]


def _fill(name: str, graphs: Sequence[Graph], options: argparse.Namespace) -> dict[str, Filled]:
    from export.sources import checkpoint_networks, seeded_networks
    from export.weights import Checkpoint

    networks = import_module(f"{MODELS[name]}.sources").NETWORKS
    wanted = dict.fromkeys(part for graph in graphs for part in graph.parts)
    if options.seeded is not None:
        return seeded_networks(networks, wanted, options.seeded)
    needed = {part for graph in graphs if options.networks or not graph.optional for part in graph.parts}
    checkpoints = [Checkpoint(path) for path in options.checkpoint]
    return checkpoint_networks(networks, wanted, set(wanted) - needed, checkpoints)


def _export_graph(graph: Graph, networks: dict[str, Filled], options: argparse.Namespace) -> None:
    import torch

    from export.to_onnx import check_contract, compare, write_onnx
    from orchestrator.inference.repository import read_model

    began_s, batches = time.monotonic(), options.batches or graph.batches
    parts = [networks[part] for part in graph.parts]
    label = ", ".join(dict.fromkeys(part.label for part in parts))
    print(f"{graph.name}: {label}", flush=True)
    contract = read_model(_config(graph.name, options.repository))
    spec = graph.spec({part: networks[part].module for part in graph.parts}, max(*batches, 2), torch.Generator().manual_seed(0))
    folder = options.repository / graph.name / VERSION
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / "model.onnx.new"  # Triton, and whoever serves from here, sees whole and proven files only
    try:
        write_onnx(spec, new, _metadata(label, parts))
        check_contract(contract, new)
        print(f"  written, and as config.pbtxt says; comparing batches {', '.join(map(str, batches))}", flush=True)
        outputs = compare(spec, new, batches)
        report = _report(graph.name, parts, batches, [asdict(output) for output in outputs], new)
        new.replace(folder / "model.onnx")
    finally:
        new.unlink(missing_ok=True)
    (options.repository / graph.name / "parity.json").write_text(json.dumps(report, indent=2) + "\n")
    for output in outputs:
        print(f"  {output.name:24}{output.error:12.3g}  tolerance {output.tolerance:.3g}  ok")
    print(f"  {folder / 'model.onnx'} in {time.monotonic() - began_s:.0f} s", flush=True)


def _config(network: str, repository: Path) -> Path:
    """The network's configuration in that repository; a new repository gets ours."""
    config = repository / network / "config.pbtxt"
    if not config.exists():
        config.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / network / "config.pbtxt", config)
    return config


def _metadata(label: str, parts: Sequence[Filled]) -> dict[str, str]:
    """For the ONNX file, whose properties are strings."""
    licences = "; ".join(dict.fromkeys(f"{part.provenance['network']}: {part.provenance['licence']}" for part in parts))
    origins = "; ".join(dict.fromkeys(part.provenance["origin"] for part in parts))
    sums = " ".join(dict.fromkeys(part.provenance["sha256"] for part in parts if "sha256" in part.provenance))
    return {"weights": label, "origin": origins, "licence": licences, **({"weights_sha256": sums} if sums else {})}


def _report(network: str, parts: Sequence[Filled], batches: Sequence[int], outputs: list[dict[str, Any]], file: Path) -> dict[str, Any]:
    import onnxruntime
    import torch

    from export.base import OPSET

    return {
        "network": network,
        "seeded": next((part.provenance["seeded"] for part in parts if "seeded" in part.provenance), None),
        "weights": [part.provenance for part in parts],
        "precision": "fp32",
        "opset": OPSET,
        "onnx_sha256": sha256(file.read_bytes()).hexdigest(),
        "batches": list(batches),
        "outputs": outputs,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
    }
