"""The wire, whole: camelCase JSON to and from records. Nothing else knows it; `docs/protocol.md`
describes it.

`client_messages` and `service_messages` are the records; `reading` checks what clients send, and
`writing` says what the service has to say; `binary` is the layout of messages that are not text;
`instances` is what gateways and several instances need.
"""

from orchestrator.protocol.binary_framing import BINARY_SUBPROTOCOL, join_binary, split_binary
from orchestrator.protocol.client_messages import (
    MESSAGE_TYPES,
    ClientMessage,
    ClientReport,
    EndSession,
    EndUtterance,
    Identifier,
    Interruption,
    ResumeSession,
    SwitchModel,
    WireAudio,
    WireAudioChunk,
    WireConfig,
    WireResolution,
    wire_value,
)
from orchestrator.protocol.decoding import (
    MAX_AUDIO_BYTES,
    MAX_MESSAGE_BYTES,
    AudioRequest,
    audio_request,
    parse,
    parse_binary,
    session_of,
)
from orchestrator.protocol.encoding import (
    dump,
    dump_binary,
    error_message,
    frame_text,
    video_message,
    wire_time,
)
from orchestrator.protocol.field_errors import wire_fault
from orchestrator.protocol.instances import (
    DRAINING,
    EXPIRED,
    OTHER_INSTANCE,
    RESTART_CODE,
    ROUTE_HEADER,
    ROUTE_QUERY,
    check_route,
)
from orchestrator.protocol.server_messages import (
    ErrorMessage,
    ModelSwitched,
    Poster,
    ResponseEnd,
    ResponseStart,
    ResponseVideo,
    ServerMessage,
    SessionResumed,
    SessionWarning,
    TurnMetrics,
)

__all__ = [
    "BINARY_SUBPROTOCOL",
    "DRAINING",
    "EXPIRED",
    "MAX_AUDIO_BYTES",
    "MAX_MESSAGE_BYTES",
    "MESSAGE_TYPES",
    "OTHER_INSTANCE",
    "RESTART_CODE",
    "ROUTE_HEADER",
    "ROUTE_QUERY",
    "AudioRequest",
    "ClientMessage",
    "ClientReport",
    "EndSession",
    "EndUtterance",
    "ErrorMessage",
    "Identifier",
    "Interruption",
    "ModelSwitched",
    "Poster",
    "ResponseEnd",
    "ResponseStart",
    "ResponseVideo",
    "ResumeSession",
    "ServerMessage",
    "SessionResumed",
    "SessionWarning",
    "SwitchModel",
    "TurnMetrics",
    "WireAudio",
    "WireAudioChunk",
    "WireConfig",
    "WireResolution",
    "audio_request",
    "check_route",
    "dump",
    "dump_binary",
    "error_message",
    "frame_text",
    "join_binary",
    "parse",
    "parse_binary",
    "session_of",
    "split_binary",
    "video_message",
    "wire_fault",
    "wire_time",
    "wire_value",
]
