"""Configurations for a server with a GPU, `configs/*.pbtxt`, lie beside `config.pbtxt` without
disturbing a server without one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from orchestrator.core.paths import MODEL_REPOSITORY
from orchestrator.inference.embedded.supervisor import EmbeddedTriton

ACCELERATED_CONFIG = MODEL_REPOSITORY / "wav2lip" / "configs" / "tensorrt.pbtxt"


async def test_the_embedded_server_loads_a_model_that_has_a_variant_for_tensorrt(
    make_repository: Callable[[], Path],
) -> None:
    repository = make_repository()
    folder = repository / "audio2motion"
    accelerator = (
        ACCELERATED_CONFIG.read_text().partition("# ONNX Runtime hands")[2].partition("\n")[2]
    )
    (folder / "configs").mkdir(exist_ok=True)
    (folder / "configs" / "tensorrt.pbtxt").write_text(
        (folder / "config.pbtxt").read_text() + accelerator
    )
    async with EmbeddedTriton(repository, ("audio2motion",)) as server:
        assert server.has_ready("audio2motion"), server.health()
