"""CPU time of a Wav2Lip frame: eager PyTorch, the adapter in process, and through Triton.

    python -m benchmarks.wav2lip_cost [--rounds 9] [--frames 12]

Prints CPU ms per frame by variant: median, least, most, and the ratio to eager PyTorch. They run
in turns within a round, one thread each, so that other load on the machine affects all of them.
Through Triton, CPU time is that of this process, the server and its backend processes. A whole
frame is the rendered head, the crop, the network and the patch put back; the eager loop runs the
network alone. Needs torch, for the module and to export seeded weights.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.shared import command_line, export_seeded, has_torch
from benchmarks.shared import cpu_s as cpu_of
from benchmarks.speaking_faces import drawn_portrait
from orchestrator.inference import Inference, Tensors
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.local.inference import LocalInference
from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.triton.inference import TritonInference
from orchestrator.models.base import FeatureWindows, Infer
from orchestrator.models.wav2lip.adapter import Wav2Lip
from orchestrator.models.wav2lip.face import FACE_SIZE, Wav2LipFace

SEED: Final = 1
CHUNK: Final = 2
"""Frames of a request: 100 ms of audio at 20 frames per second."""

SIZE: Final = 256
TARGET: Final = 0.6
"""Target for a whole frame, as a share of the eager loop's CPU time."""

Variant: TypeAlias = Callable[[int], Awaitable[float]]
"""Generates a number of frames; returns their CPU seconds."""


def eager_loop(batch: int) -> Variant:
    """A plain loop over the trained module, `batch` frames at a time."""
    import torch

    from export.networks.wav2lip.sources import NETWORKS
    from export.sources import seeded_networks

    torch.set_num_threads(1)
    generator = seeded_networks(NETWORKS, ["generator"], SEED)["generator"].module
    mel, face = torch.zeros(batch, 1, 80, 16), torch.rand(batch, 6, FACE_SIZE, FACE_SIZE)

    async def run(frames: int) -> float:
        began = time.process_time()
        with torch.no_grad():
            for _ in range(frames // batch):
                generator(mel, face)
        return time.process_time() - began

    return run


def network_alone(inference: Inference) -> Variant:
    """The exported network in this process, without cropping and pasting."""
    inputs: dict[str, NDArray[Any]] = {
        "mel": np.zeros((CHUNK, 16, 80), np.float32),
        "face": np.zeros((CHUNK, FACE_SIZE, FACE_SIZE, 3), np.uint8),
    }
    infer = without_deadline(inference)

    async def run(frames: int) -> float:
        began = time.process_time()
        for _ in range(frames // CHUNK):
            await infer("wav2lip", inputs)
        return time.process_time() - began

    return run


def whole_frames(inference: Inference, face: Wav2LipFace, server_pid: int | None) -> Variant:
    """The adapter, chunk by chunk; `server_pid` adds the CPU time of that server."""
    adapter, infer = Wav2Lip(), without_deadline(inference)

    async def run(frames: int) -> float:
        began = cpu_s(server_pid)
        for first in range(0, frames, CHUNK):
            await adapter.generate(infer, windows(first), face, None)
        return cpu_s(server_pid) - began

    return run


def pictures_alone(face: Wav2LipFace) -> Variant:
    """The adapter with a null network: the cost of this service's own code."""
    adapter = Wav2Lip()

    async def nothing(model: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        return {"patch": inputs["face"]}

    async def run(frames: int) -> float:
        began = time.process_time()
        for first in range(0, frames, CHUNK):
            await adapter.generate(nothing, windows(first), face, None)
        return time.process_time() - began

    return run


def without_deadline(inference: Inference) -> Infer:
    """Inference with a deadline of 60 s, which is never reached."""

    async def infer(model: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        return await inference.infer(model, inputs, deadline=time.monotonic() + 60.0)

    return infer


def windows(first: int) -> FeatureWindows:
    """Feature windows of a chunk of constant sound that starts at frame `first`."""
    spec, numbers = Wav2Lip.spec, first + np.arange(CHUNK)
    rows = np.zeros((CHUNK, spec.window.frames, 80), np.float32)
    return FeatureWindows(
        rows,
        numbers * 4 + 2,
        np.zeros(CHUNK, np.float32),
        (numbers.astype(np.float64) + 0.5) / 20.0,
        np.zeros(CHUNK, np.bool_),
    )


def cpu_s(server_pid: int | None) -> float:
    """CPU seconds of this process so far, and of the server with its backend processes."""
    mine = time.process_time()
    if server_pid is None:
        return mine
    server = psutil.Process(server_pid)
    return mine + cpu_of((server, *server.children()))


def demo_face() -> Wav2LipFace:
    """The shipped portrait, prepared for Wav2Lip at `SIZE` pixels."""
    return Wav2Lip().prepare(drawn_portrait(), SIZE)


async def measure(repository: Path, rounds: int, frames: int) -> dict[str, list[float]]:
    """CPU ms of a frame in every round, by variant."""
    contracts, face = read_repository(repository), demo_face()
    async with (
        LocalInference(contracts) as local,
        EmbeddedTriton(repository, ("wav2lip",)) as server,
        TritonInference([server], contracts) as triton,
    ):
        assert server.has_ready("wav2lip"), server.health()
        variants = {
            "eager PyTorch, frame by frame": eager_loop(1),
            "eager PyTorch, two at a time": eager_loop(CHUNK),
            "ONNX Runtime, the network alone": network_alone(local),
            "whole frame, in process": whole_frames(local, face, None),
            "whole frame, through Triton": whole_frames(triton, face, server.health().pid),
            "our own code of it": pictures_alone(face),
        }
        for run in variants.values():
            await run(2 * CHUNK)
        results: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(rounds):
            for name, run in variants.items():
                results[name].append(1000.0 * await run(frames) / frames)
        return results


def print_table(results: dict[str, list[float]]) -> None:
    """Print medians, range, and the ratio to the first row."""
    eager = statistics.median(next(iter(results.values())))
    print(f"{'':34}{'CPU ms/frame':>14}{'least':>9}{'most':>9}{'x eager':>9}")
    for name, values in results.items():
        middle = statistics.median(values)
        print(f"{name:34}{middle:14.1f}{min(values):9.1f}{max(values):9.1f}{middle / eager:9.2f}")
    print(f"target: at most {TARGET} x eager for a whole frame")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 where torch is missing."""
    parser = command_line("wav2lip_cost", __doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--frames",
        type=int,
        default=12,
        help=f"frames of each variant in a round, a multiple of {CHUNK}",
    )
    options = parser.parse_args(arguments)
    if not has_torch():
        return 1
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        export_seeded("wav2lip", ("wav2lip",), Path(folder), SEED)
        print_table(asyncio.run(measure(Path(folder), options.rounds, options.frames)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
