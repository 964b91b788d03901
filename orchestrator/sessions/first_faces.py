"""Prepare at the start the faces that are likely to speak first, so that the first turn waits for
nothing.
"""

from __future__ import annotations

import logging
from typing import Final

from orchestrator.core.errors import LipSyncError
from orchestrator.core.types import LipSyncModel
from orchestrator.faces.storage.layout import DEMO_FACE, DEMO_USER
from orchestrator.models.base import EncodesFace
from orchestrator.sessions.service import LipSyncService

FIRST_SIZE: Final = 256
"""Picture size that is prepared first, in pixels: the wire's default."""

OTHER_SIZES: Final = (512, 128)
"""The other sizes on offer, in the order in which they are prepared."""

logger = logging.getLogger(__name__)


class FirstFaces:
    """The shipped portrait before anybody can ask for it; its other sizes and `preload_users`
    behind the scenes.
    """

    def __init__(self, service: LipSyncService) -> None:
        self._service = service
        config = service.config
        spoken = (config.default_model, LipSyncModel.TPSM, LipSyncModel.STATIC)
        self._models = tuple(dict.fromkeys(model for model in spoken if config.serves(model)))

    async def solve(self) -> None:
        """The portrait at the default size, as far as that takes no server: it may be starting
        meanwhile.
        """
        try:
            face = await self._service.faces.load_face_model(DEMO_USER, DEMO_FACE)
            for model in self._models:
                adapter = self._service.adapters.get(model)
                if adapter is not None and not isinstance(adapter, EncodesFace):
                    await self._service.faces.optimize_for_model(face, adapter, FIRST_SIZE)
        except LipSyncError as error:
            logger.warning("the shipped face could not be prepared: %s", error.message)

    async def introduce(self) -> None:
        """The same with the servers: they have its maps afterwards."""
        try:
            face = await self._service.faces.load_face_model(DEMO_USER, DEMO_FACE)
            await self._service.pipeline.faces.prepare_face(face, self._models, FIRST_SIZE)
        except LipSyncError as error:
            logger.warning("the shipped face could not be prepared: %s", error.message)

    async def prepare_others(self) -> None:
        """Faces of `preload_users` at the default size, then all of them at the others."""
        service, users = self._service, self._service.config.preload_users
        faces = [await service.faces.load_face_model(DEMO_USER, DEMO_FACE)]
        loaded = await service.faces.preload_for_users(users)
        if missing := sorted({*users} - {*loaded}):
            logger.warning(
                "preload_users: no active face could be loaded for %s", ", ".join(missing)
            )
        faces += [await service.faces.load_face_model(user) for user in loaded]
        for size in (FIRST_SIZE, *OTHER_SIZES):
            for face in faces:
                await service.pipeline.faces.prepare_face(face, self._models, size)
