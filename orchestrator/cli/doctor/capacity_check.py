"""Check of the capacity: the probe that the service runs after its start, for `lipsync doctor`."""

from __future__ import annotations

from orchestrator.cli.doctor.check import Check, State
from orchestrator.core.config import ConfigError, ServiceConfig
from orchestrator.core.errors import LipSyncError
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.open_store import open_store
from orchestrator.inference import ContractError
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.open_inference import open_inference
from orchestrator.models import ADAPTERS
from orchestrator.pipeline.capacity_probe import Capacity, measure
from orchestrator.video.generator import VideoGeneratorService


async def live_faces(config: ServiceConfig) -> Check:
    """Number of faces that can speak at once.

    Measured with an embedded server. The CPU and GPU time of an external one cannot be measured
    from here.
    """
    name = "live faces"
    if config.triton_urls:
        return Check(
            name,
            State.NOTE,
            f"not known: {config.triton_url} generates the frames",
            "set max_concurrent_sessions by `lipsync bench --sessions N`",
        )
    try:
        capacity = await _measured(config)
    except (ConfigError, LipSyncError, ContractError, OSError, TimeoutError, KeyError) as error:
        return Check(name, State.NOTE, f"not measured: {error}")
    cost = (
        f"{config.default_model.value} takes {capacity.cpu_ms_per_frame:.1f} ms of "
        f"{capacity.cores:g} cores a frame"
    )
    return Check(
        name,
        State.OK,
        f"{capacity.faces} can speak at once at {capacity.fps:g} frames a second ({cost})",
    )


async def _measured(config: ServiceConfig) -> Capacity:
    adapter = ADAPTERS[config.default_model]
    models = (*adapter.spec.triton_models, *adapter.spec.ensembles)
    faces = FaceModelCacheService(open_store(config.storage, config.bucket))
    server = EmbeddedTriton(config.model_repository, models)
    async with open_inference(config, server) as inference:
        return await measure(adapter, faces, VideoGeneratorService(inference))
