"""Export one graph of a model: write it aside, check it, prove it equal, put it in place."""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import onnx
import onnxruntime
import torch

from export.base import OPSET, ExportSpec, Graph
from export.engine import build_engine, engine_runner, require_tensorrt
from export.parity import ExportError, OutputParity, compare, onnx_runner
from export.sources import Filled
from export.tensorrt_config import ENGINE_CONFIG, Profile, profile, write_accelerated, write_engine
from export.tensorrt_rules import find_problems
from export.to_onnx import check_contract, write_onnx
from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.inference.model_contract import read_model

VERSION: Final = "1"


@dataclass(frozen=True, slots=True)
class _Job:
    """Export of one graph into the repository."""

    spec: ExportSpec
    parts: Sequence[Filled]
    batches: Sequence[int]
    folder: Path
    half: bool
    profile: Profile

    @property
    def label(self) -> str:
        return ", ".join(dict.fromkeys(part.label for part in self.parts))


def export_graph(graph: Graph, networks: Mapping[str, Filled], options: argparse.Namespace) -> None:
    """Export a graph; `options` are the command's.

    Raises `ExportError` or `ContractError`, and then leaves the previous files.
    """
    began_s, job = time.monotonic(), _job(graph, networks, options)
    print(f"{graph.name}: {job.label}", flush=True)
    report = _prove_and_place(job, options.format == "tensorrt")
    (job.folder / "parity.json").write_text(json.dumps(report, indent=2) + "\n")
    print(
        f"  {job.folder / VERSION / 'model.onnx'} in {time.monotonic() - began_s:.0f} s", flush=True
    )


def _prove_and_place(job: _Job, with_engine: bool) -> dict[str, Any]:
    """Put whole and proven files of the same weights in place, never partial ones.

    A running Triton may read the folder at any time.
    """
    version = job.folder / VERSION
    version.mkdir(parents=True, exist_ok=True)
    graph, plan = version / "model.onnx.new", version / "model.plan.new"
    try:
        report = _prove_onnx(job, graph)
        problems = find_problems(onnx.load(str(graph)))
        if with_engine:
            report["engine"] = _prove_engine(job, graph, plan, problems)
        graph.replace(version / "model.onnx")
        _place_variants(job, plan, problems)
    finally:
        graph.unlink(missing_ok=True)
        plan.unlink(missing_ok=True)
    return report


def _place_variants(job: _Job, plan: Path, problems: Sequence[str]) -> None:
    """Place the variants, and remove an engine of an earlier export without a successor.

    It would answer with other weights.
    """
    if problems:
        print(
            f"  not for TensorRT: its parser rejects the graph: {'; '.join(problems[:3])}",
            flush=True,
        )
    else:
        write_accelerated(job.folder, job.profile)
    if plan.exists():
        plan.replace(job.folder / VERSION / "model.plan")
        write_engine(job.folder)
    else:
        (job.folder / VERSION / "model.plan").unlink(missing_ok=True)
        (job.folder / "configs" / ENGINE_CONFIG).unlink(missing_ok=True)


def _job(graph: Graph, networks: Mapping[str, Filled], options: argparse.Namespace) -> _Job:
    batches = options.batches or graph.batches
    folder = _folder(graph.name, options.repository)
    modules = {part: networks[part].module for part in graph.parts}
    spec = graph.spec(modules, max(*batches, 2), torch.Generator().manual_seed(0))
    shapes = profile(spec, read_model(folder / "config.pbtxt").max_batch_size)
    return _Job(
        spec,
        [networks[part] for part in graph.parts],
        batches,
        folder,
        options.precision == "fp16",
        shapes,
    )


def _folder(network: str, repository: Path) -> Path:
    """The network's folder in that repository; a new one gets the shipped configuration."""
    folder = repository / network
    if not (folder / "config.pbtxt").exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(MODEL_REPOSITORY / network / "config.pbtxt", folder / "config.pbtxt")
    return folder


def _prove_onnx(job: _Job, file: Path) -> dict[str, Any]:
    write_onnx(job.spec, file, _metadata(job), half=job.half)
    check_contract(read_model(job.folder / "config.pbtxt"), onnx.load(str(file)).graph)
    print(
        "  written and consistent with config.pbtxt; "
        f"comparing batches {', '.join(map(str, job.batches))}",
        flush=True,
    )
    outputs = compare(
        job.spec, onnx_runner(file, list(job.spec.outputs)), job.batches, reduced=job.half
    )
    _print(outputs)
    return _report(job, outputs, file)


def _prove_engine(job: _Job, file: Path, plan: Path, problems: Sequence[str]) -> dict[str, Any]:
    if problems:
        raise ExportError(f"{job.spec.name}: TensorRT rejects the graph: {'; '.join(problems[:3])}")
    print("  building the engine, which takes minutes", flush=True)
    build_engine(file, job.profile, plan)
    with engine_runner(plan) as run:
        outputs = compare(
            job.spec,
            run,
            [batch for batch in job.batches if batch <= _max_batch(job.profile)],
            reduced=True,
        )
    _print(outputs)
    return {
        "tensorrt": require_tensorrt(),
        "sha256": _sha256(plan),
        "outputs": [asdict(output) for output in outputs],
    }


def _max_batch(shapes: Profile) -> int:
    """Largest batch of an engine."""
    return min(each.most[0] for each in shapes.values())


def _print(outputs: Sequence[OutputParity]) -> None:
    for output in outputs:
        print(
            f"  {output.name:24}{output.error:12.3g}  tolerance {output.tolerance:.3g}  ok",
            flush=True,
        )


def _metadata(job: _Job) -> dict[str, str]:
    """Properties of the ONNX file, as strings."""
    origins = "; ".join(dict.fromkeys(part.provenance["origin"] for part in job.parts))
    licences = "; ".join(
        dict.fromkeys(
            f"{part.provenance['network']}: {part.provenance['licence']}" for part in job.parts
        )
    )
    sums = " ".join(
        dict.fromkeys(
            part.provenance["sha256"] for part in job.parts if "sha256" in part.provenance
        )
    )
    return {
        "weights": job.label,
        "origin": origins,
        "licence": licences,
        **({"weights_sha256": sums} if sums else {}),
    }


def _report(job: _Job, outputs: Sequence[OutputParity], file: Path) -> dict[str, Any]:
    return {
        "network": job.spec.name,
        "seeded": next(
            (part.provenance["seeded"] for part in job.parts if "seeded" in part.provenance), None
        ),
        "weights": [part.provenance for part in job.parts],
        "precision": "fp16" if job.half else "fp32",
        "opset": OPSET,
        "onnx_sha256": _sha256(file),
        "batches": list(job.batches),
        "outputs": [asdict(output) for output in outputs],
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def _sha256(file: Path) -> str:
    return sha256(file.read_bytes()).hexdigest()
