"""Messages: good ones become records, bad ones an error that names the field."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from orchestrator import protocol
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import AudioFormat, LipSyncModel, VideoFormat


def seed_message() -> dict[str, Any]:
    return {
        "type": "lipsync_audio",
        "sessionId": "session-123",
        "userId": "user-456",
        "faceModelId": "face-model-789",
        "modelPreference": "tpsm",
        "audioChunk": {
            "data": base64.b64encode(bytes(3200)).decode(),
            "timestamp": 1705312200000,
            "sequenceNumber": 0,
            "sampleRate": 16000,
            "channels": 1,
            "format": "pcm",
        },
    }


def parse_audio(message: dict[str, Any]) -> protocol.AudioRequest:
    parsed = protocol.parse(json.dumps(message))
    assert isinstance(parsed, protocol.WireAudio)
    return protocol.audio_request(parsed)


def test_the_specifications_message_is_understood() -> None:
    request = parse_audio(seed_message())
    assert (request.session_id, request.user_id, request.face_model_id) == (
        "session-123",
        "user-456",
        "face-model-789",
    )
    assert request.model_preference is LipSyncModel.TPSM
    assert (request.chunk.sample_rate_hz, request.chunk.format, len(request.chunk.data)) == (
        16000,
        AudioFormat.PCM,
        3200,
    )


def test_unknown_fields_are_ignored() -> None:
    message = seed_message() | {"colour": "green"}
    message["audioChunk"]["language"] = "en"
    assert parse_audio(message).session_id == "session-123"


def changed(path: str, value: Any) -> dict[str, Any]:
    message = seed_message()
    target = message
    *parents, leaf = path.split(".")
    for parent in parents:
        target = target.setdefault(parent, {})
    target[leaf] = value
    return message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("sessionId", 7),
        ("sessionId", "../../etc/passwd"),
        ("sessionId", ".."),
        ("sessionId", "a\n"),
        ("sessionId", ""),
        ("userId", "a/b"),
        ("faceModelId", "..\\up"),
        ("faceModelId", "x" * 129),
        ("turnId", {}),
        ("modelPreference", "tpms"),
        ("audioChunk", []),
        ("audioChunk.data", 5),
        ("audioChunk.data", ""),
        ("audioChunk.data", "not base64!"),
        ("audioChunk.data", "A" * (10 * 1024 * 1024)),
        ("audioChunk.timestamp", "now"),
        ("audioChunk.timestamp", -1),
        ("audioChunk.sequenceNumber", -1),
        ("audioChunk.sequenceNumber", 1.5),
        ("audioChunk.sampleRate", 44),
        ("audioChunk.sampleRate", 96000),
        ("audioChunk.sampleRate", "16000"),
        ("audioChunk.channels", 0),
        ("audioChunk.channels", 6),
        ("audioChunk.format", "mp3"),
        ("config.targetFps", 120),
        ("config.targetFps", "fast"),
        ("config.quality", 101),
        ("config.format", "gif"),
        ("audioChunk.sampleRate", 10**400),
        ("config.quality", -(10**400)),
    ],
)
def test_a_bad_field_is_named(path: str, value: Any) -> None:
    with pytest.raises(LipSyncError) as caught:
        parse_audio(changed(path, value))
    assert caught.value.code is LipSyncErrorCode.INVALID_MESSAGE
    assert caught.value.details["field"] == path
    assert caught.value.message.startswith(f"{path}: ")
    assert caught.value.recoverable


@pytest.mark.parametrize(
    ("path", "value", "choices"),
    [
        ("modelPreference", "zzz", "tpsm, wav2lip, sadtalker, audio2head, tpsm-neural, static"),
        ("audioChunk.format", "mp3", "pcm, wav, opus"),
        ("config.format", "webp", "jpeg, h264"),
    ],
)
@pytest.mark.parametrize("binary", [False, True])
def test_a_field_of_few_values_is_refused_with_what_to_send(
    path: str, value: str, choices: str, binary: bool
) -> None:
    text = json.dumps(changed(path, value))
    with pytest.raises(LipSyncError) as caught:
        protocol.parse_binary(
            protocol.join_binary(text.encode(), b"")
        ) if binary else protocol.parse(text)
    assert caught.value.message.startswith(f"{path}: is '{value}'; send one of {choices}")


def test_a_model_that_nobody_knows_is_refused_with_those_that_can_be_named() -> None:
    with pytest.raises(LipSyncError, match=r"model: is 'bogus'; send one of tpsm, .*static"):
        protocol.parse('{"type": "switch_model", "sessionId": "s", "model": "bogus"}')


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("sessionId", 7, "must be 1 to 128 characters"),
        ("audioChunk", [], "must be an object"),
        ("audioChunk.data", 5, "must be text"),
        ("audioChunk.format", 5, "must be one of pcm, wav, opus"),
        ("audioChunk.sequenceNumber", 1.5, "must be a whole number"),
        ("config.enableInterpolation", 1, "must be true or false"),
        ("config.resolution", {"width": 256}, "is required but missing"),
        ("config.targetFps", "fast", "must be a number"),
    ],
)
def test_a_field_of_another_kind_is_refused_with_the_kind_to_send(
    path: str, value: Any, sentence: str
) -> None:
    with pytest.raises(LipSyncError, match=rf"^{path}[.a-z]*: {sentence}"):
        parse_audio(changed(path, value))


def test_a_number_out_of_range_is_refused_with_its_range() -> None:
    text = '{"type": "client_report", "sessionId": "s", "packetLossPercent": 101}'
    with pytest.raises(LipSyncError, match=r"^packetLossPercent: must be a number from 0 to 100$"):
        protocol.parse(text)


def test_a_model_that_an_adapter_adds_can_be_named() -> None:
    glow = LipSyncModel.own("glow")
    message = protocol.parse('{"type": "switch_model", "sessionId": "s", "model": "glow"}')
    assert isinstance(message, protocol.SwitchModel)
    assert message.model is glow


def test_a_bad_id_is_explained_in_words() -> None:
    with pytest.raises(LipSyncError, match="faceModelId: must be 1 to 128 characters"):
        parse_audio(changed("faceModelId", "a/b"))


@pytest.mark.parametrize(
    "size",
    [{"width": 256, "height": 512}, {"width": 1024, "height": 1024}, {"width": 0, "height": 0}],
)
def test_only_the_offered_sizes_are_drawn(size: dict[str, int]) -> None:
    with pytest.raises(LipSyncError) as caught:
        parse_audio(changed("config.resolution", size))
    assert caught.value.details["field"] == "config.resolution"


@pytest.mark.parametrize(
    "path",
    [
        "type",
        "sessionId",
        "userId",
        "audioChunk",
        "audioChunk.data",
        "audioChunk.timestamp",
        "audioChunk.format",
    ],
)
def test_a_missing_field_is_named(path: str) -> None:
    message = seed_message()
    target: dict[str, Any] = message
    *parents, leaf = path.split(".")
    for parent in parents:
        target = target[parent]
    del target[leaf]
    with pytest.raises(LipSyncError) as caught:
        parse_audio(message)
    assert caught.value.details["field"] == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "{",
        "[]",
        "null",
        "7",
        '"text"',
        '{"type": "dance"}',
        '{"type": null}',
        "[" * 100_000,
        "\ud800",
    ],
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(LipSyncError) as caught:
        protocol.parse(text.encode("utf-8", "surrogatepass"))
    assert caught.value.code is LipSyncErrorCode.INVALID_MESSAGE
    assert caught.value.details["field"] in ("message", "type")


def test_a_refused_message_is_told_to_the_session_it_names() -> None:
    assert protocol.session_of('{"sessionId": "session-123", "type": 5}') == "session-123"
    assert protocol.session_of('{"sessionId": 5}') is None
    assert (
        protocol.session_of('{"sessionId": "x\\n2026-01-01 ERROR all faces were deleted"}') is None
    )
    assert protocol.session_of('{"sessionId": "' + "x" * 129 + '"}') is None
    assert protocol.session_of("nonsense") is None


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (
            '{"type": "resume_session", "sessionId": "s", "userId": "u", "nextFrame": -7}',
            "nextFrame",
        ),
        ('{"type": "client_report", "sessionId": "s", "avOffsetMs": 1e308}', "avOffsetMs"),
        ('{"type": "client_report", "sessionId": "s", "avOffsetMs": -60001}', "avOffsetMs"),
        ('{"type": "client_report", "sessionId": "s", "avOffsetMs": 1e999}', "avOffsetMs"),
    ],
)
@pytest.mark.parametrize("binary", [False, True])
def test_figures_out_of_any_range_are_named(text: str, field: str, binary: bool) -> None:
    with pytest.raises(LipSyncError) as caught:
        protocol.parse_binary(
            protocol.join_binary(text.encode(), b"")
        ) if binary else protocol.parse(text)
    assert caught.value.details["field"] == ("message" if binary and "e999" in text else field)


def test_a_refusal_repeats_little_of_what_was_sent() -> None:
    message = {
        "type": "switch_model",
        "sessionId": "s",
        "model": "' - at `$.secret` " + "A" * 1_000_000,
    }
    with pytest.raises(LipSyncError) as caught:
        protocol.parse(json.dumps(message))
    assert caught.value.details["field"] == "model"
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            '{"type": "end_utterance", "sessionId": "s", "timestamp": 1705312201000}',
            protocol.EndUtterance,
        ),
        (
            '{"type": "interruption", "sessionId": "s", "timestamp": 1705312201000, "turnIndex": 1}',
            protocol.Interruption,
        ),
        ('{"type": "switch_model", "sessionId": "s", "model": "wav2lip"}', protocol.SwitchModel),
        (
            '{"type": "client_report", "sessionId": "s", "bandwidthKbps": 800, "packetLossPercent": 1.5, "avOffsetMs": -8}',
            protocol.ClientReport,
        ),
        ('{"type": "end_session", "sessionId": "s"}', protocol.EndSession),
    ],
)
def test_control_messages_are_understood(text: str, kind: type) -> None:
    assert isinstance(protocol.parse(text), kind)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bandwidthKbps", -5),
        ("bandwidthKbps", 1e300),
        ("packetLossPercent", 150),
        ("packetLossPercent", -1),
        ("avOffsetMs", 1e9),
    ],
)
def test_a_figure_that_nobody_can_have_measured_is_named(field: str, value: float) -> None:
    text = json.dumps({"type": "client_report", "sessionId": "s", field: value}).encode()
    for read in (
        lambda: protocol.parse(text),
        lambda: protocol.parse_binary(struct.pack(">I", len(text)) + text),
    ):
        with pytest.raises(LipSyncError) as caught:
            read()
        assert (caught.value.code, caught.value.details["field"]) == (
            LipSyncErrorCode.INVALID_MESSAGE,
            field,
        )


def test_a_video_message_reads_as_the_specification_shows_it() -> None:
    message = protocol.ResponseVideo(
        "s",
        "turn-001",
        b"\x00\x01",
        0,
        1705312200050,
        1705312200000,
        VideoFormat.H264,
        True,
        256,
        256,
        LipSyncModel.TPSM,
        False,
    )
    assert json.loads(protocol.dump(message)) == {
        "type": "response_video",
        "sessionId": "s",
        "turnId": "turn-001",
        "frameData": "AAE=",
        "sequenceNumber": 0,
        "timestamp": 1705312200050,
        "audioTimestamp": 1705312200000,
        "format": "h264",
        "isKeyframe": True,
        "width": 256,
        "height": 256,
        "model": "tpsm",
        "isInterpolated": False,
    }


def test_a_switch_is_told_with_from_and_to() -> None:
    message = protocol.ModelSwitched("s", LipSyncModel.TPSM, LipSyncModel.STATIC, "TIMEOUT")
    assert json.loads(protocol.dump(message)) == {
        "type": "model_switched",
        "sessionId": "s",
        "from": "tpsm",
        "to": "static",
        "reason": "TIMEOUT",
    }


def test_an_error_carries_code_and_field() -> None:
    error = LipSyncError(
        LipSyncErrorCode.FACE_MODEL_NOT_FOUND,
        "no such face",
        recoverable=False,
        details={"field": "faceModelId"},
    )
    assert json.loads(protocol.dump(protocol.error_message(error, "s"))) == {
        "type": "error",
        "sessionId": "s",
        "errorCode": "FACE_MODEL_NOT_FOUND",
        "errorMessage": "no such face",
        "recoverable": False,
        "fallbackAvailable": False,
        "details": {"field": "faceModelId"},
    }


def test_times_are_whole_where_they_can_be() -> None:
    assert str(protocol.wire_time(1705312200050.0)) == "1705312200050"
    assert protocol.wire_time(1705312200066.6667) == 1705312200066.667


def binary(header: dict[str, Any], payload: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "big") + text + payload


def test_a_binary_message_carries_the_audio_behind_its_header() -> None:
    header = seed_message()
    del header["audioChunk"]["data"]
    parsed, payload = protocol.parse_binary(binary(header, bytes(3200)))
    assert isinstance(parsed, protocol.WireAudio)
    assert protocol.audio_request(parsed, payload) == parse_audio(seed_message())


def test_control_messages_may_be_binary_too() -> None:
    parsed, payload = protocol.parse_binary(
        binary({"type": "end_utterance", "sessionId": "session-123"}, b"")
    )
    assert (parsed, payload) == (
        protocol.parse('{"type": "end_utterance", "sessionId": "session-123"}'),
        b"",
    )


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (b"", "header"),
        (b"\0\0", "header"),
        (b"\0\0\0\xff{}", "header"),
        (b"\0\0\0\1{", "header"),
        (binary({"type": "lipsync_audio", "sessionId": "s"}, b""), "userId"),
        (binary(seed_message() | {"sessionId": "a b"}, bytes(2)), "sessionId"),
    ],
    ids=["empty", "cut off", "longer than the message", "no JSON", "a missing field", "a bad id"],
)
def test_a_bad_binary_message_names_what_is_wrong(message: bytes, field: str) -> None:
    with pytest.raises(LipSyncError) as caught:
        protocol.parse_binary(message)
    assert caught.value.details["field"] == field


def test_a_binary_chunk_without_audio_or_with_too_much_is_refused() -> None:
    for payload in (b"", bytes(protocol.MAX_AUDIO_BYTES + 1)):
        parsed, data = protocol.parse_binary(binary(seed_message(), payload))
        assert isinstance(parsed, protocol.WireAudio)
        with pytest.raises(LipSyncError, match=r"audioChunk\.data"):
            protocol.audio_request(parsed, data)


def test_a_binary_frame_is_the_json_one_with_its_bytes_behind() -> None:
    message = protocol.ResponseVideo(
        "s", "t", b"\0picture", 3, 50, 0, VideoFormat.H264, True, 256, 256, LipSyncModel.TPSM, False
    )
    header, payload = protocol.split_binary(protocol.dump_binary(message))
    text = json.loads(protocol.dump(message))
    assert payload == base64.b64decode(text.pop("frameData"))
    assert json.loads(header) == text
    assert message.frame_data == b"\0picture"
