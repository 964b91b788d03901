"""TensorRT shapes and configurations of a network: `configs/*.pbtxt` beside `config.pbtxt`.

Triton selects them by `--model-config-name=tensorrt` or `=engine`, and uses `config.pbtxt` for
models without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from export.base import AxisRange, ExportSpec

ACCELERATED_CONFIG: Final = "tensorrt.pbtxt"
"""ONNX Runtime runs `model.onnx` by TensorRT, with an engine built on the first load."""

ENGINE_CONFIG: Final = "engine.pbtxt"
"""Triton's TensorRT backend runs `model.plan`, which `--format tensorrt` built."""

WORKSPACE_BYTES: Final = 4 << 30
"""Temporary memory that TensorRT may use.

Its own default in Triton, 1 GiB, rules out the faster convolutions of the renderers.
"""

ENGINE_CACHE: Final = "/var/cache/tensorrt"
"""Folder in the server's container for engines, which take minutes to build.

Mount a volume that the server's user may write to. `lipsync models --serve-from DIR
--tensorrt-cache FOLDER` writes configurations that name another one.
"""

ACCELERATOR: Final = """\
# ONNX Runtime hands the graph to TensorRT; served by `tritonserver --model-config-name=tensorrt`.
optimization {{ execution_accelerators {{
  gpu_execution_accelerator [ {{
    name: "tensorrt"
    # No precision of its own: TensorRT takes the types of the graph, so what the export left in
    # fp32 stays there.
    parameters {{ key: "precision_mode" value: "FP32" }}
    parameters {{ key: "max_workspace_size_bytes" value: "{workspace}" }}
    parameters {{ key: "trt_engine_cache_enable" value: "1" }}
    parameters {{ key: "trt_engine_cache_path" value: "{cache}" }}
    parameters {{ key: "trt_engine_cache_prefix" value: "{name}" }}
    # Instances that are opened together build one after another, so that the later ones find the
    # engine in the cache.
    parameters {{ key: "trt_force_sequential_engine_build" value: "1" }}
    parameters {{ key: "trt_timing_cache_enable" value: "1" }}
    parameters {{ key: "trt_timing_cache_path" value: "{cache}" }}
    parameters {{ key: "trt_profile_min_shapes" value: "{least}" }}
    parameters {{ key: "trt_profile_opt_shapes" value: "{usual}" }}
    parameters {{ key: "trt_profile_max_shapes" value: "{most}" }}
  }} ]
}} }}
"""


class Shapes(NamedTuple):
    """One input's shapes, batch first."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]


Profile: TypeAlias = dict[str, Shapes]
"""By input."""


def profile(spec: ExportSpec, max_batch_size: int) -> Profile:
    """Every batch that `config.pbtxt` allows, and the declared lengths of the free axes.

    Optimised for half the largest batch.
    """
    batch = AxisRange(1, max(max_batch_size // 2, 1), max_batch_size)
    return {
        name: Shapes(
            *zip(
                *(_range(spec, name, axis, size, batch) for axis, size in enumerate(tensor.shape)),
                strict=True,
            )
        )
        for name, tensor in spec.inputs.items()
    }


def _range(spec: ExportSpec, name: str, axis: int, size: int, batch: AxisRange) -> AxisRange:
    if axis == 0:
        return batch
    axes = spec.free.get(name, {})
    return spec.ranges[axes[axis]] if axis in axes else AxisRange(size, size, size)


def write_accelerated(folder: Path, shapes: Profile) -> Path:
    """`configs/tensorrt.pbtxt` of the network's folder: its `config.pbtxt` and the accelerator."""
    block = ACCELERATOR.format(
        workspace=WORKSPACE_BYTES,
        cache=ENGINE_CACHE,
        name=folder.name,
        **{
            limit: ",".join(
                f"{name}:{_text(getattr(each, limit))}" for name, each in shapes.items()
            )
            for limit in Shapes._fields
        },
    )
    return _write(
        folder / "configs" / ACCELERATED_CONFIG, (folder / "config.pbtxt").read_text() + block
    )


def write_engine(folder: Path) -> Path:
    """`configs/engine.pbtxt` of the network's folder: its `config.pbtxt` with the other backend."""
    return _write(
        folder / "configs" / ENGINE_CONFIG,
        (folder / "config.pbtxt").read_text().replace('"onnxruntime"', '"tensorrt"'),
    )


def read_profile(config: Path) -> Profile:
    """Read the shapes of a `configs/tensorrt.pbtxt`; raises `KeyError` for one without them."""
    message: Any = text_format.Parse(config.read_text(), model_config_pb2.ModelConfig())
    (accelerator,) = message.optimization.execution_accelerators.gpu_execution_accelerator
    limits = [_shapes(accelerator.parameters, limit) for limit in ("min", "opt", "max")]
    return {name: Shapes(*(limit[name] for limit in limits)) for name in limits[0]}


def _shapes(parameters: Mapping[str, str], limit: str) -> dict[str, tuple[int, ...]]:
    entries = (entry.split(":") for entry in parameters[f"trt_profile_{limit}_shapes"].split(","))
    return {name: tuple(map(int, sizes.split("x"))) for name, sizes in entries}


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path
