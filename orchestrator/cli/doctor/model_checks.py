"""Checks of the models: their files, the renderer, a real server with a request to each model, and
the capacity.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

import numpy as np

from orchestrator.cli.doctor.capacity_check import live_faces
from orchestrator.cli.doctor.check import Check, State
from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError
from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.inference import ContractError
from orchestrator.inference.embedded.health import TritonHealth, TritonState
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.open_inference import open_inference
from orchestrator.models import ADAPTERS
from orchestrator.models.tpsm.adapter import prepare_face
from orchestrator.pipeline.licence_policy import refused_models
from orchestrator.pipeline.model_availability import commands_for, why_not
from orchestrator.rendering.face_renderer import FaceRenderer
from orchestrator.rendering.motion import MOTION_PARAMETERS, OPEN

SIZE: Final = 128
RESTORE: Final = "git checkout -- model_repository orchestrator/faces/builtin"
"""Fix where shipped files are changed or missing."""

REPAIR_ABOVE: Final = "repair what is MISSING above"


async def files(config: ServiceConfig) -> Check:
    """Files of the default model."""
    name = "model files"
    try:
        repository = read_repository(config.model_repository)
    except ContractError as error:
        return Check(name, State.MISSING, str(error), RESTORE)
    wanted = _triton_models(config)
    lost = [model for model in wanted if model not in repository.present()]
    if lost:
        fix = " && ".join(commands_for(config.default_model, lost))
        return Check(
            name, State.MISSING, f"{', '.join(lost)} not in {config.model_repository}", fix
        )
    return Check(name, State.OK, f"{', '.join(repository.present())} in {config.model_repository}")


async def other_models(config: ServiceConfig) -> Check:
    """Models beside the default one. A missing file is a note, with the command that exports it."""
    name = "other models"
    try:
        repository = read_repository(config.model_repository)
    except ContractError as error:
        return Check(name, State.MISSING, str(error), RESTORE)
    refused = refused_models(ADAPTERS, commercial_safe=config.commercial_safe)
    others = [model for model in ADAPTERS if model is not config.default_model]
    reasons = {model: refused.get(model, "") or why_not(model, repository) for model in others}
    usable = ", ".join(model.value for model in others if not reasons[model]) or "none"
    lacking = [f"{model.value}: {reason}" for model, reason in reasons.items() if reason]
    return Check(
        name, State.NOTE if lacking else State.OK, "; ".join((f"{usable} can be used", *lacking))
    )


def _triton_models(config: ServiceConfig) -> tuple[str, ...]:
    """Triton models of the default model; none where its adapter is not installed."""
    adapter = ADAPTERS.get(config.default_model)
    return () if adapter is None else tuple(adapter.spec.triton_models)


async def renderer(config: ServiceConfig) -> Check:
    """Render the demo face twice: the mouth must open."""
    try:
        face = await FaceModelCacheService(LocalFaceStore(SHIPPED_FACES)).load_face_model(
            DEMO_USER, DEMO_FACE
        )
    except (LipSyncError, OSError) as error:
        return Check("renderer", State.MISSING, str(error), RESTORE)
    face_renderer = FaceRenderer(prepare_face(face, SIZE).maps)
    motion = np.zeros((2, len(MOTION_PARAMETERS)), np.float32)
    motion[1, OPEN] = 1.0
    shut, wide = (face_renderer.draw(row) for row in motion)
    if (shut == wide).all():
        return Check("renderer", State.MISSING, "the mouth does not open", RESTORE)
    return Check("renderer", State.OK, "draws the demo face")


async def server(config: ServiceConfig) -> Check:
    """Start the embedded server, or use the external one; check the response of each model."""
    name = "Triton answers"
    wanted = _triton_models(config)
    try:
        if config.triton_url:
            return await _external_server(name, config, wanted)
        async with EmbeddedTriton(config.model_repository, wanted) as triton:
            return _health(name, triton.health())
    except (LipSyncError, ContractError, OSError, TimeoutError) as error:
        return Check(name, State.MISSING, str(error) or type(error).__name__, REPAIR_ABOVE)


def _health(name: str, health: TritonHealth) -> Check:
    if health.state is not TritonState.RUNNING:
        finding = f"{health.last_fault}; its log ends: {health.log_tail}"
        return Check(name, State.MISSING, finding, REPAIR_ABOVE)
    faults = [f"{model}: {reason}" for model, reason in health.models.items() if reason]
    if faults:
        return Check(name, State.MISSING, "; ".join(faults), RESTORE)
    return Check(name, State.OK, f"started, and {', '.join(health.models)} answered as they should")


async def _external_server(name: str, config: ServiceConfig, wanted: tuple[str, ...]) -> Check:
    async with open_inference(config) as inference:
        lost = [model for model in wanted if not await inference.ready(model)]
    fix = (
        "start it with the models of `lipsync models --load-arguments`, or with a repository of "
        "`lipsync models --serve-from DIR`"
    )
    if lost:
        return Check(
            name, State.MISSING, f"{config.triton_url} does not have {', '.join(lost)} ready", fix
        )
    return Check(name, State.OK, f"{config.triton_url} has {', '.join(wanted)} ready")


MODELS: Final[tuple[Callable[[ServiceConfig], Coroutine[Any, Any, Check]], ...]] = (
    files,
    other_models,
    renderer,
    server,
    live_faces,
)
"""In the order in which they depend on each other."""
