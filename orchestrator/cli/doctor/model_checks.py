"""Do the models work here? Their files, the renderer itself, and a real start of the server with a
question to each model.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from orchestrator.cli.doctor.machine_checks import Check, State
from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError
from orchestrator.core.paths import SHIPPED_FACES
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER
from orchestrator.faces.storage.local_folder import LocalFaceStore
from orchestrator.inference import ContractError
from orchestrator.inference.embedded.health import TritonState
from orchestrator.inference.embedded.supervisor import EmbeddedTriton
from orchestrator.inference.model_contract import read_repository
from orchestrator.inference.triton.inference import TritonInference
from orchestrator.models import ADAPTERS
from orchestrator.models.tpsm.adapter import prepare_face
from orchestrator.pipeline.licence_policy import refused_models
from orchestrator.pipeline.model_availability import commands_for, why_not
from orchestrator.rendering.face_renderer import FaceRenderer
from orchestrator.rendering.motion import MOTION_PARAMETERS, OPEN

SIZE: Final = 128
RESTORE: Final = "git checkout -- model_repository orchestrator/faces/builtin"
"""What comes with the package was changed or is gone."""


async def files(config: ServiceConfig) -> Check:
    """The files of the default model."""
    name = "model files"
    try:
        repository = read_repository(config.model_repository)
    except ContractError as error:
        return Check(name, State.MISSING, str(error), RESTORE)
    wanted = (
        ADAPTERS[config.default_model].spec.triton_models
        if config.default_model in ADAPTERS
        else ()
    )
    lost = [model for model in wanted if model not in repository.present()]
    if lost:
        mend = " && ".join(commands_for(config.default_model, lost))
        return Check(
            name, State.MISSING, f"{', '.join(lost)} not in {config.model_repository}", mend
        )
    return Check(name, State.OK, f"{', '.join(repository.present())} in {config.model_repository}")


async def other_models(config: ServiceConfig) -> Check:
    """The models beside the default one: what they lack is no fault, and what brings it is a
    command.
    """
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


async def renderer(config: ServiceConfig) -> Check:
    """Draws the demo face twice: the mouth has to open."""
    try:
        face = await FaceModelCacheService(LocalFaceStore(SHIPPED_FACES)).load_face_model(
            DEMO_USER, DEMO_FACE
        )
    except LipSyncError as error:
        return Check("renderer", State.MISSING, error.message, RESTORE)
    drawing = FaceRenderer(prepare_face(face, SIZE).maps)
    motion = np.zeros((2, len(MOTION_PARAMETERS)), np.float32)
    motion[1, OPEN] = 1.0
    shut, wide = (drawing.draw(row) for row in motion)
    if (shut == wide).all():
        return Check("renderer", State.MISSING, "the mouth does not open", RESTORE)
    return Check("renderer", State.OK, "draws the demo face")


async def server(config: ServiceConfig) -> Check:
    """Start the embedded server, or ask the one that is named; each model has to answer as it
    should.
    """
    name = "Triton answers"
    wanted = (
        ADAPTERS[config.default_model].spec.triton_models
        if config.default_model in ADAPTERS
        else ()
    )
    try:
        if config.triton_url:
            return await _named_server(name, config, wanted)
        async with EmbeddedTriton(config.model_repository, wanted) as triton:
            health = triton.health()
    except (LipSyncError, ContractError, OSError, TimeoutError) as error:
        return Check(
            name, State.MISSING, str(error) or type(error).__name__, "mend what is MISSING above"
        )
    if health.state is not TritonState.RUNNING:
        return Check(
            name,
            State.MISSING,
            f"{health.last_fault}; its log ends: {health.log_tail}",
            "mend what is MISSING above",
        )
    faults = {model: reason for model, reason in health.models.items() if reason}
    if faults:
        return Check(
            name,
            State.MISSING,
            "; ".join(f"{model}: {reason}" for model, reason in faults.items()),
            RESTORE,
        )
    return Check(name, State.OK, f"started, and {', '.join(health.models)} answered as they should")


async def _named_server(name: str, config: ServiceConfig, wanted: tuple[str, ...]) -> Check:
    async with TritonInference(
        config.triton_urls, read_repository(config.model_repository)
    ) as inference:
        lost = [model for model in wanted if not await inference.ready(model)]
    mend = (
        "start it with the models of `lipsync models --load-arguments`, or with a repository of "
        "`lipsync models --serve-from DIR`"
    )
    if lost:
        return Check(
            name, State.MISSING, f"{config.triton_url} does not have {', '.join(lost)} ready", mend
        )
    return Check(name, State.OK, f"{config.triton_url} has {', '.join(wanted)} ready")
