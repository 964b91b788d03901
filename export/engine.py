"""Build a TensorRT engine of an exported graph, and run it for the comparison.

Needs a GPU, TensorRT and Polygraphy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from export.parity import ExportError, Runner
from export.tensorrt_config import WORKSPACE_BYTES, Profile


def require_tensorrt() -> str:
    """Return TensorRT's version; raises `ExportError` where it, or Polygraphy, is not installed."""
    try:
        import_module("polygraphy.backend.trt")
        version: str = import_module("tensorrt").__version__
    except ImportError as missing:
        raise ExportError(
            f"{missing.name} is not installed: `--format tensorrt` needs an NVIDIA GPU and `pip "
            "install 'lipsync-service[export,gpu]'`; without them export ONNX, which Triton runs "
            "through TensorRT by itself with --model-config-name=tensorrt"
        ) from missing
    return version


def build_engine(onnx_file: Path, shapes: Profile, plan: Path) -> None:
    """Write `plan` for exactly this kind of GPU and this version of TensorRT.

    Raises `ExportError` where TensorRT fails.
    """
    import tensorrt
    from polygraphy.backend import trt
    from polygraphy.exception import PolygraphyException

    # The graph's own types hold (since TensorRT 11 always), so that fp32 parts of the export stay
    # fp32.
    typed = (
        {"strongly_typed": True}
        if hasattr(tensorrt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
        else {}
    )
    limits = trt.Profile()
    for name, each in shapes.items():
        limits.add(name, min=each.least, opt=each.usual, max=each.most)
    config = trt.CreateConfig(
        profiles=[limits], memory_pool_limits={tensorrt.MemoryPoolType.WORKSPACE: WORKSPACE_BYTES}
    )
    try:
        engine = trt.engine_bytes_from_network(
            trt.network_from_onnx_path(str(onnx_file), **typed), config=config
        )
    except (
        PolygraphyException,
        TypeError,
    ) as error:  # a builder without a GPU is a TypeError of TensorRT's bindings
        raise ExportError(f"TensorRT cannot build {plan.name}: {error}") from error
    plan.write_bytes(engine)


@contextmanager
def engine_runner(plan: Path) -> Iterator[Runner]:
    """The engine on the GPU, for `export.parity.compare`."""
    from polygraphy.backend import trt

    engine = trt.engine_from_bytes(plan.read_bytes())
    with trt.TrtRunner(engine) as runner:

        def run(rows: dict[str, Any]) -> dict[str, Any]:
            # the next call overwrites its buffers
            return {name: array.copy() for name, array in runner.infer(rows).items()}

        yield run
