"""Background preparation of faces for models that their sessions may switch to.

Concurrency is bounded, each face is prepared once, and all tasks end with the service.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.metrics import Metrics
from orchestrator.core.types import FaceModel, LipSyncModel
from orchestrator.faces.service import FaceModelCacheService
from orchestrator.inference import Inference
from orchestrator.models.base import EncodesFace, ModelAdapter

logger = logging.getLogger(__name__)

AT_ONCE: Final = 2
"""Concurrent preparations: live frames come first.

One face can keep a CPU core busy for ten seconds.
"""

MOST: Final = 64
"""Preparations running or waiting; further requests are retried with the next frames."""

MAX_REQUEST_AGE_S: Final = 60.0
"""Age of the last request from which a waiting preparation is not started."""

RETRY_S: Final = 30.0
"""Wait before a failed preparation is tried again."""

_Key: TypeAlias = tuple[str, str, str, LipSyncModel, int]


@dataclass(slots=True, eq=False)
class _Preparation:
    task: asyncio.Task[None]
    requested_s: float


class FacePreparations:
    """Owner of one task per face, model and size that is being prepared.

    Sessions share the tasks, and no task ends with a session.
    """

    def __init__(
        self, faces: FaceModelCacheService, inference: Inference, metrics: Metrics
    ) -> None:
        self._faces = faces
        self._inference = inference
        self._metrics = metrics
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._running: dict[_Key, _Preparation] = {}
        self._failed_until_s: dict[_Key, float] = {}
        self._encoding: dict[LipSyncModel, bool] = {}

    def __len__(self) -> int:
        return len(self._running)

    def is_ready(self, face: FaceModel, adapter: ModelAdapter, size: int) -> bool:
        """True if frames can be generated now.

        Always true for a model without face networks, whose preparation takes a moment.
        """
        return not self._encodes(adapter) or self._faces.prepared(face, adapter, size) is not None

    def _encodes(self, adapter: ModelAdapter) -> bool:
        """Cached protocol check: it takes over 10 microseconds and runs several times per batch."""
        known = self._encoding.get(adapter.spec.model)
        if known is None:
            known = self._encoding[adapter.spec.model] = isinstance(adapter, EncodesFace)
        return known

    def start(self, face: FaceModel, adapter: ModelAdapter, size: int) -> None:
        """Prepare the face in the background.

        Does nothing if a preparation is running, failed within `RETRY_S`, or too many are waiting.
        """
        now = asyncio.get_running_loop().time()
        key = (face.user_id, face.id, face.version, adapter.spec.model, size)
        running = self._running.get(key)
        if running is not None:
            running.requested_s = now
        elif self._failed_until_s.get(key, now) <= now and len(self._running) < MOST:
            name = f"prepare {face.id} for {adapter.spec.model.value}"
            task = asyncio.create_task(self._run(key, face, adapter), name=name)
            self._running[key] = _Preparation(task, now)
            task.add_done_callback(lambda _: self._running.pop(key))

    async def wait(
        self, face: FaceModel, models: Iterable[LipSyncModel], patience_s: float
    ) -> None:
        """Wait for running preparations of the face for these models, for `patience_s` at most."""
        wanted = set(models)
        tasks = [
            each.task
            for key, each in self._running.items()
            if key[:3] == (face.user_id, face.id, face.version) and key[3] in wanted
        ]
        if tasks:
            await asyncio.wait(tasks, timeout=patience_s)

    async def close(self) -> None:
        """Cancel all preparations."""
        tasks = [each.task for each in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _run(self, key: _Key, face: FaceModel, adapter: ModelAdapter) -> None:
        loop, model = asyncio.get_running_loop(), adapter.spec.model
        async with self._turns:
            began_s = loop.time()
            if began_s - self._running[key].requested_s > MAX_REQUEST_AGE_S:
                return
            try:
                await self._faces.optimize_for_model(face, adapter, key[4], self._inference)
            except LipSyncError as error:
                self._fail(key, error.code, error.message)
            # the task boundary: a bug in one model must not affect the others
            except Exception as error:
                logger.exception("face %s could not be prepared for %s", face.id, model.value)
                self._fail(key, LipSyncErrorCode.VIDEO_GENERATION_FAILED, repr(error))
            else:
                self._metrics.face_preparations_total.labels(model.value, "prepared").inc()
                self._metrics.stage_seconds.labels("prepare_face", model.value).observe(
                    loop.time() - began_s
                )

    def _fail(self, key: _Key, code: LipSyncErrorCode, message: str) -> None:
        """Record the failure, and drop failures older than `RETRY_S`."""
        now = asyncio.get_running_loop().time()
        self._failed_until_s = {
            other: until_s for other, until_s in self._failed_until_s.items() if until_s > now
        } | {key: now + RETRY_S}
        self._metrics.face_preparations_total.labels(key[3].value, code.value).inc()
        logger.warning(
            "face %s could not be prepared for %s: %s: %s",
            key[1],
            key[3].value,
            code.value,
            message,
        )
