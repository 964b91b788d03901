"""`python -m export check`: check exported graphs without a GPU.

Against their configurations and against the rules of TensorRT's parser.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from export.command import names
from orchestrator.core.paths import MODEL_REPOSITORY

if TYPE_CHECKING:
    import onnx

    from export.tensorrt_config import Profile
    from orchestrator.inference.model_contract import ModelContract


def main(arguments: list[str]) -> int:
    """Run the command; exit status 1 if a graph is wrong, or if none was found."""
    parser = argparse.ArgumentParser(prog="python -m export check", description=__doc__)
    parser.add_argument(
        "--repository",
        type=Path,
        default=MODEL_REPOSITORY,
        metavar="DIR",
        help="model repository to read",
    )
    parser.add_argument("--networks", type=names, metavar="A,B", help="only these Triton models")
    options = parser.parse_args(arguments)
    try:
        import onnx  # noqa: F401
    except ImportError:
        print(
            "export: onnx is not installed; it comes with `pip install 'lipsync-service[export]'`"
        )
        return 1
    from orchestrator.inference.model_contract import read_repository

    models = read_repository(options.repository).models.values()
    exported = [model for model in models if (model.file.name == "model.onnx" and model.present)]
    wanted = [model for model in exported if not options.networks or model.name in options.networks]
    missing = set(options.networks or ()) - {model.name for model in wanted}
    for name in sorted(missing):
        print(f"{name}: not exported")
    return int(bool([model for model in wanted if not _check(model)] or missing or not wanted))


def _check(contract: ModelContract) -> bool:
    import onnx

    model = onnx.load(str(contract.file))
    problems = list(_problems(contract, model))
    counts = Counter(node.op_type for node in model.graph.node)
    print(
        f"{contract.name}: "
        f"{len(counts)} operators in {sum(counts.values())} nodes, {'; '.join(problems) or 'ok'}",
        flush=True,
    )
    return not problems


def _problems(contract: ModelContract, model: onnx.ModelProto) -> Iterator[str]:
    from export.parity import ExportError
    from export.tensorrt_config import ACCELERATED_CONFIG, read_profile
    from export.tensorrt_rules import find_problems
    from export.to_onnx import check_contract

    try:
        check_contract(contract, model.graph)
    except ExportError as error:
        yield str(error)
    yield from find_problems(model)
    config = contract.folder / "configs" / ACCELERATED_CONFIG
    if config.exists():
        yield from profile_problems(contract, model.graph, read_profile(config))


def profile_problems(
    contract: ModelContract, graph: onnx.GraphProto, shapes: Profile
) -> Iterator[str]:
    """Differences between an engine's shapes and the graph, or the largest batch."""
    inputs = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in graph.input
    }
    if inputs.keys() != shapes.keys():
        yield f"shapes for {sorted(shapes)}, the graph has {sorted(inputs)}"
    for name, dims in inputs.items():
        each = shapes.get(name)
        if each and not all(
            least <= usual <= most and (not dim or least == most == dim)
            for dim, least, usual, most in zip(dims, *each, strict=True)
        ):
            yield f"shapes of {name} from {each.least} to {each.most}, the graph has {dims}"
        if each and (each.least[0], each.most[0]) != (1, contract.max_batch_size):
            yield (
                f"batches of {name} from {each.least[0]} to {each.most[0]}, "
                f"config.pbtxt says {contract.max_batch_size}"
            )
