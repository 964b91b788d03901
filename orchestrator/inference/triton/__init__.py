"""gRPC client of Triton Inference Server: connections, discovery, shared memory."""
