"""A gRPC server that only knows which of its models are ready, as a Triton is polled."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc


class ReadyModels(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """Its service."""

    def __init__(self) -> None:
        self.ready: set[str] = set()

    def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802 - Triton's name
        return service_pb2.ModelReadyResponse(ready=request.name in self.ready)


class Served:
    """It on a port that it keeps when it is started again."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.models, self._host, self.port = ReadyModels(), host, port

    def start(self) -> str:
        self._server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self.models, self._server)
        self.port = self._server.add_insecure_port(f"{self._host}:{self.port}")
        self._server.start()
        return f"{self._host}:{self.port}"

    def stop(self) -> None:
        self._server.stop(None).wait(5)
