"""Triton models out of tiny networks, with configurations as the shipped ones have them."""

from __future__ import annotations

from pathlib import Path

import tiny_onnx

LABOUR = "labour"
"""Takes its time: a quarter of a second of CPU for each item, as renderers for GPUs do."""

LABOUR_PRODUCTS = 120

ROWS = "rows"
"""Has an axis of any length."""

CONFIG = """
name: "{name}"
backend: "onnxruntime"
max_batch_size: 8
input [ {{ name: "{given}" data_type: TYPE_FP32 dims: [ {dims} ] }} ]
output [ {{ name: "{answered}" data_type: TYPE_FP32 dims: [ {dims} ] }} ]
instance_group [ {{ count: 1 }} ]
dynamic_batching {{ max_queue_delay_microseconds: 500 }}
"""


def add_labour(repository: Path, name: str = LABOUR, *, products: int = LABOUR_PRODUCTS) -> None:
    """`light` is `mouth`, late."""
    tiny_onnx.write_labour(repository / name / "1" / "model.onnx", products=products)
    (repository / name / "config.pbtxt").write_text(
        CONFIG.format(name=name, given="mouth", answered="light", dims="1, 1")
    )


def add_rows(repository: Path) -> None:
    """`doubled` is twice `rows`, of whatever number."""
    tiny_onnx.write_rows(repository / ROWS / "1" / "model.onnx")
    (repository / ROWS / "config.pbtxt").write_text(
        CONFIG.format(name=ROWS, given="rows", answered="doubled", dims="-1, 3")
    )
