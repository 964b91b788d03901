"""Python client of the service: send audio, receive frames.

    async with connect("http://127.0.0.1:8080") as client:
        turn = client.session(user="demo", face="demo").say_wav("hello.wav")
        async for frame in turn.frames():
            show(frame.data, frame.timestamp)

A lost connection is reopened and its sessions are resumed. The package needs `protocol` and `core`
only, nothing of the server.
"""

from orchestrator.client.connection import LipSyncClient, connect
from orchestrator.client.errors import (
    AudioProcessingError,
    BufferOverflowError,
    ConnectionFailedError,
    FaceModelIncompatibleError,
    FaceModelNotFoundError,
    GpuUnavailableError,
    InternalError,
    InvalidMessageError,
    LipSyncClientError,
    ModelLoadError,
    ServiceError,
    ServiceTimeoutError,
    SessionLimitError,
    SessionLostError,
    SyncError,
    UnauthorizedError,
    VideoGenerationError,
)
from orchestrator.client.messages import Frame, Poster
from orchestrator.client.session import ClientSession
from orchestrator.client.turn import ClientTurn

__all__ = [
    "AudioProcessingError",
    "BufferOverflowError",
    "ClientSession",
    "ClientTurn",
    "ConnectionFailedError",
    "FaceModelIncompatibleError",
    "FaceModelNotFoundError",
    "Frame",
    "GpuUnavailableError",
    "InternalError",
    "InvalidMessageError",
    "LipSyncClient",
    "LipSyncClientError",
    "ModelLoadError",
    "Poster",
    "ServiceError",
    "ServiceTimeoutError",
    "SessionLimitError",
    "SessionLostError",
    "SyncError",
    "UnauthorizedError",
    "VideoGenerationError",
    "connect",
]
