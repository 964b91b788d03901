"""Faces of the sessions: loading, preparation for models, and the poster before the first frame.

`SessionFaces` is the only writer of a session's `FaceState`, except for a pending hot swap.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import product
from typing import Any, Final

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import FaceModel, LipSyncModel
from orchestrator.faces.preparation.background import FacePreparations
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.models.base import IntroducesFace, ModelAdapter
from orchestrator.pipeline.model_catalogue import ModelCatalogue
from orchestrator.pipeline.model_selector import ModelSelector
from orchestrator.pipeline.poster import poster_jpeg, windows_at_rest
from orchestrator.pipeline.session_events import Poster
from orchestrator.pipeline.session_state import Session
from orchestrator.video.generator import VideoGeneratorService

logger = logging.getLogger(__name__)

STORED_FACE_S: Final = 0.25
"""Time for which the begin of a turn waits for a preparation that has just started: enough to read
a stored encoding.
"""

INTRODUCTION_S: Final = 0.5
"""Time for which the begin of a turn waits until the servers hold a face; 10 ms are usual."""

MAX_INTRODUCED: Final = 256
"""Faces and sizes remembered as sent; a renderer caches 64 of them."""


class SessionFaces:
    """Gives sessions their faces and prepares them for the models."""

    def __init__(
        self,
        adapters: Mapping[LipSyncModel, ModelAdapter],
        faces: FaceModelCacheService,
        video: VideoGeneratorService,
        preparations: FacePreparations,
        catalogue: ModelCatalogue,
        selector: ModelSelector,
    ) -> None:
        self._adapters = adapters
        self._faces = faces
        self._video = video
        self._preparations = preparations
        self._catalogue = catalogue
        self._selector = selector
        self._introduced: dict[Hashable, None] = {}
        """Faces that the servers were sent, the oldest first."""

    async def open_face(self, session: Session, face_model_id: str | None) -> None:
        """Load the session's face if the client names another one, a swap is pending, or a turn
        begins: the stored face may be newer.

        Within a turn storage is read for another id only. While storage is away the session keeps
        its face. Raises what loading raises. The session then keeps its face, unless that was
        deleted: it serves to the end of the turn.
        """
        state = session.face
        if state.swapped is not None:
            self._set_face(session, state.swapped)
        other_id = face_model_id if face_model_id != state.named_id else None
        if state.current is not None and session.audio.turn is not None and other_id is None:
            return
        try:
            face = await self._faces.load_face_model(session.user_id, other_id or _own_id(session))
        except LipSyncError as error:
            if not self._keeps_face(session, error, other_id):
                raise
            return
        state.named_id = other_id or state.named_id
        self._set_face(session, face)

    def _keeps_face(self, session: Session, error: LipSyncError, other_id: str | None) -> bool:
        """True if the session goes on with its face after `error`; drop a face that was deleted."""
        state = session.face
        if state.current is not None and other_id is None and error.recoverable:
            logger.warning("session %s keeps its face: %s", session.id, error.message)
            return True
        if other_id is None and error.code is LipSyncErrorCode.FACE_MODEL_NOT_FOUND:
            state.current = state.named_id = None
        return False

    def _set_face(self, session: Session, face: FaceModel) -> None:
        session.face.swapped = None
        if face is not session.face.current:
            session.face.current = face
            compatible = self._faces.validate_compatibility(face).compatible_lip_sync_models
            self._selector.note_face(session, compatible)

    async def warm_up(self, session: Session, size: int) -> LipSyncModel:
        """Prepare the face for the likely models at `size` pixels, so that neither the first frame
        nor a fallback waits; returns the first candidate.
        """
        self._selector.note_turn(session)
        face, session.face.size = face_of(session), size
        known = frozenset(session.models.awaited_since_s)
        models = await self._selector.select_model(session)
        if session.models.awaited_since_s.keys() - known:
            await self._preparations.wait(face, session.models.awaited_since_s, STORED_FACE_S)
            models = await self._selector.select_model(session)
        await self.prepare_face(face, (LipSyncModel.STATIC,), size)
        return await self._first_prepared(session, models)

    async def _first_prepared(
        self, session: Session, models: Sequence[LipSyncModel]
    ) -> LipSyncModel:
        """First of `models` that can use the session's face; the face is prepared for it."""
        for model in models:
            try:
                await self.prepare_face(face_of(session), (model,), session.face.size)
            except LipSyncError as error:
                if error.code is not LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE:
                    raise
                self._selector.note_failure(session, model, error)
            else:
                return model
        raise all_failed({})

    async def prepare_face(
        self, face: FaceModel, models: Iterable[LipSyncModel], size: int
    ) -> None:
        """Prepare a face for `models` ahead of its first frame; preparations that need a network
        run in the background.
        """
        for model in dict.fromkeys(models):
            adapter = self._adapters[model]
            if self._preparations.is_ready(face, adapter, size):
                prepared = await self._faces.optimize_for_model(face, adapter, size)
                await self._introduce(face, adapter, size, prepared)
            elif await self._catalogue.available(model):
                self._preparations.start(face, adapter, size)

    def prepare_later(
        self, face: FaceModel, models: Iterable[LipSyncModel], sizes: Iterable[int]
    ) -> None:
        """Prepare a face in the background, so that the result is stored before its first use."""
        for size, model in product(sizes, models):
            self._preparations.start(face, self._adapters[model], size)

    async def _introduce(
        self, face: FaceModel, adapter: ModelAdapter, size: int, prepared: Any
    ) -> None:
        """Send a face once to the servers that cache it. A server that has evicted it reports so,
        and gets it with the next frame.
        """
        model = adapter.spec.model
        key = (face.user_id, face.id, face.version, model, size)
        if key in self._introduced or not isinstance(adapter, IntroducesFace):
            return
        if not await self._catalogue.available(model):
            return
        deadline = asyncio.get_running_loop().time() + INTRODUCTION_S
        if await self._video.introduce(adapter, prepared, deadline=deadline):
            self._introduced[key] = None
            if len(self._introduced) > MAX_INTRODUCED:
                del self._introduced[next(iter(self._introduced))]

    async def poster(self, session: Session, size: int) -> Poster | None:
        """Picture of the face as its first frame will show it, once for each face and size; None
        where it was sent or cannot be generated.
        """
        face = face_of(session)
        if (face.id, size) in session.face.posters:
            return None
        session.face.posters.add((face.id, size))
        adapter = self._adapters[LipSyncModel.STATIC]
        try:
            prepared = await self._faces.optimize_for_model(face, adapter, size)
            windows = windows_at_rest(adapter.spec, session.audio.idle_s)
            images, _ = await self._video.generate_frames(
                adapter, windows, prepared, None, deadline=math.inf
            )
        except LipSyncError:
            return None  # the first frame's own attempt reports the error
        return Poster(face.id, poster_jpeg(images[0]), size)


def face_of(session: Session) -> FaceModel:
    """Face of the session; raises FACE_MODEL_NOT_FOUND before it has one."""
    if session.face.current is None:
        raise LipSyncError(
            LipSyncErrorCode.FACE_MODEL_NOT_FOUND,
            "the session has no face model yet",
            recoverable=False,
        )
    return session.face.current


def all_failed(failures: Mapping[LipSyncModel, LipSyncErrorCode]) -> LipSyncError:
    """VIDEO_GENERATION_FAILED with the error code of each candidate."""
    details = {model.value: code.value for model, code in failures.items()}
    return LipSyncError(
        LipSyncErrorCode.VIDEO_GENERATION_FAILED, "every candidate failed", details=details
    )


def _own_id(session: Session) -> str | None:
    """Id to reload for a session that names no other face; None: the user's active face."""
    state = session.face
    return state.current.id if state.current is not None and state.named_id is not None else None
