"""The specification's service as a Python object: frames without a socket, from the shipped models
run in process.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest
import pytest_asyncio
import simplejpeg
from ws_client import syllables

from orchestrator.core.config import ServiceConfig
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode
from orchestrator.core.types import (
    AudioChunk,
    AudioFormat,
    GeneratedFrame,
    LipSyncModel,
    Resolution,
    VideoFormat,
    VideoGenerationConfig,
)
from orchestrator.sessions.service import LipSyncRequest, LipSyncService

SPEECH = syllables(1.0)


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[LipSyncService]:
    async with LipSyncService(
        config=ServiceConfig(storage=tmp_path, chunk_deadline_ms=60_000)
    ) as opened:
        yield opened


def chunk(number: int = 0, seconds: float = 0.1) -> AudioChunk:
    begin = round(3200 * 10 * 0.1 * number)
    return AudioChunk(
        SPEECH[begin : begin + round(32_000 * seconds)],
        5000.0 + 100.0 * number,
        number,
        16_000,
        1,
        AudioFormat.PCM,
    )


def request(number: int = 0, **fields: object) -> LipSyncRequest:
    given: dict[str, object] = {
        "session_id": "s",
        "user_id": "demo",
        "audio_chunk": chunk(number),
        "face_model_id": "demo",
    }
    return LipSyncRequest(**(given | fields))  # type: ignore[arg-type]


async def turn(service: LipSyncService, **fields: object) -> list[GeneratedFrame]:
    frames = []
    for number in range(10):
        frames += (await service.process_lip_sync(request(number, **fields))).frames
    return frames + (await service.end_utterance("s")).frames


async def test_a_turn_of_chunks_becomes_a_turn_of_frames(service: LipSyncService) -> None:
    frames = await turn(service)
    assert [frame.sequence_number for frame in frames] == list(range(20))
    assert [frame.audio_timestamp_ms for frame in frames] == [
        5000.0 + 50.0 * number for number in range(20)
    ]
    assert {frame.lip_sync_model for frame in frames} == {LipSyncModel.TPSM}
    assert np.abs(frames[3].image.astype(int) - frames[8].image).max() > 20, "the mouth moves"
    assert [frame.sequence_number for frame in await turn(service)] == list(range(20)), (
        "a second turn counts anew"
    )


async def test_an_answer_says_what_it_took_and_where_sound_and_picture_stand(
    service: LipSyncService,
) -> None:
    first = await service.process_lip_sync(request(0))
    assert (first.metrics.frames_generated, first.metrics.model_used) == (
        len(first.frames),
        None if not first.frames else LipSyncModel.TPSM,
    )
    later = await service.process_lip_sync(request(1, audio_chunk=chunk(1, 0.5)))
    assert later.metrics.model_used is LipSyncModel.TPSM
    assert later.metrics.processing_time_ms > 0
    assert later.sync_state.is_in_sync


async def test_frames_are_coded_as_the_turn_asked(service: LipSyncService) -> None:
    answer = await service.process_lip_sync(
        request(audio_chunk=chunk(0, 0.5), config=VideoGenerationConfig(format=VideoFormat.H264))
    )
    coded = await service.prepare_for_streaming("s", answer.frames)
    assert [frame.is_keyframe for frame in coded] == [True] + [False] * (len(coded) - 1)
    message = json.loads(service.streaming.create_web_socket_message(coded[0], "s", "turn-001"))
    assert (message["type"], message["turnId"], message["format"]) == (
        "response_video",
        "turn-001",
        "h264",
    )
    assert base64.b64decode(message["frameData"]) == coded[0].data


async def test_the_tail_of_a_turn_is_coded_as_the_turn_was(service: LipSyncService) -> None:
    config = VideoGenerationConfig(format=VideoFormat.H264, resolution=Resolution(128, 128))
    body = (
        await service.process_lip_sync(request(audio_chunk=chunk(0, 0.5), config=config))
    ).frames
    coded = await service.prepare_for_streaming("s", body)
    coded += await service.prepare_for_streaming("s", (await service.end_utterance("s")).frames)
    assert {(frame.format, frame.resolution.width) for frame in coded} == {(VideoFormat.H264, 128)}
    with av.open(io.BytesIO(b"".join(frame.data for frame in coded)), format="h264") as stream:
        assert sum(1 for _ in stream.decode(video=0)) == len(coded) == 10


async def test_a_model_is_chosen_switched_and_measured(service: LipSyncService) -> None:
    await service.process_lip_sync(request())
    assert await service.select_model("s") is LipSyncModel.TPSM
    assert await service.select_model("s", LipSyncModel.STATIC) is LipSyncModel.STATIC
    assert await service.select_model("s", LipSyncModel.WAV2LIP) is LipSyncModel.TPSM
    assert await service.select_model("s", None, [LipSyncModel.STATIC]) is LipSyncModel.STATIC
    await service.switch_model("s", LipSyncModel.STATIC)
    frames = (await service.process_lip_sync(request(1, audio_chunk=chunk(1, 0.5)))).frames
    assert {frame.lip_sync_model for frame in frames} == {LipSyncModel.STATIC}
    static = service.get_model_performance(LipSyncModel.STATIC)
    assert static.success_rate == 1.0
    assert static.average_latency_ms > 0
    assert {each.model for each in service.get_model_performance()} >= {
        LipSyncModel.TPSM,
        LipSyncModel.STATIC,
    }


async def test_a_benchmark_recommends_one_of_the_models_that_are_there(
    service: LipSyncService,
) -> None:
    face = await service.faces.load_face_model("demo", "demo")
    results = await service.benchmark_models(face, [chunk(number) for number in range(10)])
    assert {result.model for result in results} == {LipSyncModel.TPSM, LipSyncModel.STATIC}
    assert [result.is_recommended for result in results].count(True) == 1
    assert all(
        result.frames_generated == 20 and result.test_duration_ms == 1000.0 for result in results
    )
    assert all(
        result.min_latency_ms <= result.average_latency_ms <= result.max_latency_ms
        for result in results
    )
    assert {result.gpu_memory_peak_mb for result in results} == {None}, "there is no GPU to measure"


@pytest.mark.parametrize(
    "speech",
    [[], [AudioChunk(b"odd", 0.0, 0, 16_000, 1, AudioFormat.PCM)]],
    ids=["none", "not decodable"],
)
async def test_a_benchmark_of_speech_that_cannot_be_heard_is_the_callers_fault_and_no_models(
    service: LipSyncService, speech: list[AudioChunk]
) -> None:
    face = await service.faces.load_face_model("demo", "demo")
    with pytest.raises(LipSyncError, match=r"testAudio|audioChunk\.data"):
        await service.benchmark_models(face, speech)
    assert service.get_model_performance(LipSyncModel.TPSM).success_rate == 1.0


async def test_health_counts_sessions_and_ends_with_them(service: LipSyncService) -> None:
    await service.process_lip_sync(request())
    health = await service.get_health_status()
    assert (health.is_healthy, health.active_sessions, health.gpu_available) == (True, 1, False)
    assert health.available[LipSyncModel.TPSM]
    assert not health.available[LipSyncModel.WAV2LIP]
    await service.end_session("s")
    await service.end_session("s")
    assert (await service.get_health_status()).active_sessions == 0
    with pytest.raises(LipSyncError, match="no session"):
        await service.select_model("s")


async def test_health_tells_how_frames_are_drawn(service: LipSyncService) -> None:
    frames = await turn(service)
    generation = (await service.get_health_status()).generation
    assert generation == service.video.get_metrics()
    assert generation.frames_generated >= len(frames)


@pytest.mark.parametrize(
    "fields",
    [
        {"face_model_id": "nobody"},
        {"audio_chunk": AudioChunk(b"odd", 0.0, 0, 16_000, 1, AudioFormat.PCM)},
    ],
    ids=["unknown face", "bad audio"],
)
async def test_a_first_request_that_fails_leaves_no_session(
    service: LipSyncService, fields: dict[str, object]
) -> None:
    with pytest.raises(LipSyncError):
        await service.process_lip_sync(request(**fields))
    assert len(service.sessions) == 0
    await service.process_lip_sync(request())
    with pytest.raises(LipSyncError):
        await service.process_lip_sync(request(1, **fields))
    assert len(service.sessions) == 1, "later failures leave the session as it was"


async def test_a_turn_begins_with_the_first_chunk_that_can_be_heard(
    service: LipSyncService,
) -> None:
    await turn(service)
    with pytest.raises(LipSyncError, match=r"audioChunk\.data"):
        await service.process_lip_sync(
            request(audio_chunk=AudioChunk(b"odd", 9000.0, 0, 16_000, 1, AudioFormat.PCM))
        )
    with pytest.raises(LipSyncError, match="no open turn"):
        await service.end_utterance("s")
    frames = (await service.process_lip_sync(request(audio_chunk=chunk(0, 0.5)))).frames
    assert frames[0].audio_timestamp_ms == 5000.0, "not the bad chunk's time"


async def test_a_request_that_waits_for_a_failing_first_one_opens_the_session_itself(
    service: LipSyncService,
) -> None:
    both = (
        service.process_lip_sync(request(face_model_id="nobody")),
        service.process_lip_sync(request()),
    )
    failed, answered = await asyncio.gather(*both, return_exceptions=True)
    assert isinstance(failed, LipSyncError)
    assert not isinstance(answered, BaseException)
    assert (await service.end_utterance("s")).frames


async def test_another_users_session_and_a_turn_that_never_began_are_refused(
    service: LipSyncService,
) -> None:
    await service.process_lip_sync(request())
    with pytest.raises(LipSyncError, match="userId"):
        await service.process_lip_sync(request(1, user_id="ann"))
    await service.end_utterance("s")
    with pytest.raises(LipSyncError, match="no open turn"):
        await service.end_utterance("s")


async def test_a_bad_chunk_leaves_the_session_as_it_was(service: LipSyncService) -> None:
    await service.process_lip_sync(request(0))
    with pytest.raises(LipSyncError) as caught:
        await service.process_lip_sync(
            request(1, audio_chunk=AudioChunk(b"odd", 0.0, 1, 16_000, 1, AudioFormat.PCM))
        )
    assert caught.value.code is not LipSyncErrorCode.VIDEO_GENERATION_FAILED
    frames = (await service.process_lip_sync(request(1, audio_chunk=chunk(1, 0.5)))).frames
    assert frames


async def test_the_face_can_be_swapped_in_mid_turn(service: LipSyncService) -> None:
    demo = await service.faces.load_face_model("demo", "demo")
    files = {
        blob.key.rsplit("/")[-1]: await service.store.read(blob.key)
        for blob in await service.store.blobs("face-models/demo/demo")
    }
    files["neutral_pose.jpg"] = simplejpeg.encode_jpeg(
        np.ascontiguousarray(demo.neutral_pose[:, :, ::-1]), 95, "RGB"
    )
    await service.store.replace(
        "face-models/demo/other",
        {name: data for name, data in files.items() if data is not None and "/" not in name},
    )
    first = [*(await service.process_lip_sync(request(0, audio_chunk=chunk(0, 0.4)))).frames]
    await service.faces.hot_swap_model("demo", "demo", "other")
    later = (
        await service.process_lip_sync(request(4, audio_chunk=chunk(4, 0.4), face_model_id="other"))
    ).frames
    assert later[0].sequence_number == first[-1].sequence_number + 1
    assert np.abs(later[-1].image[..., 0].mean() - first[-1].image[..., 2].mean()) < 3.0, (
        "red and blue changed places"
    )


@pytest.mark.parametrize("named", ["demo", None])
async def test_a_hot_swap_reaches_a_session_that_holds_the_old_face(
    service: LipSyncService, named: str | None
) -> None:
    demo = await service.faces.load_face_model("demo", "demo")
    files = {
        blob.key.rsplit("/")[-1]: await service.store.read(blob.key)
        for blob in await service.store.blobs("face-models/demo/demo")
    }
    files["neutral_pose.jpg"] = simplejpeg.encode_jpeg(
        np.ascontiguousarray(demo.neutral_pose[:, :, ::-1]), 95, "RGB"
    )
    await service.store.replace(
        "face-models/demo/other", {name: data for name, data in files.items() if data is not None}
    )
    first = [*(await service.process_lip_sync(request(0, audio_chunk=chunk(0, 0.4)))).frames]
    await service.faces.hot_swap_model("demo", "demo", "other")
    later = (
        await service.process_lip_sync(request(4, audio_chunk=chunk(4, 0.4), face_model_id=named))
    ).frames
    assert later[0].sequence_number == first[-1].sequence_number + 1
    assert np.abs(later[-1].image[..., 0].mean() - first[-1].image[..., 2].mean()) < 3.0, (
        "red and blue changed places"
    )


async def test_sync_is_measured_and_corrected_by_the_streaming_service(
    service: LipSyncService,
) -> None:
    answer = await service.process_lip_sync(request(audio_chunk=chunk(0, 0.5)))
    coded = await service.prepare_for_streaming("s", answer.frames)
    state = service.streaming.calculate_sync_state("s", 5000.0, 5070.0)
    assert (state.offset_ms, state.is_in_sync) == (70.0, False)
    moved = service.streaming.apply_sync_correction(coded, state)
    assert moved[0].timestamp_ms == coded[0].timestamp_ms + 70.0
    assert service.streaming.adapt_bitrate("s", 1000.0, 0.0) == 900_000
    await service.prepare_for_streaming("s", answer.frames)
    service.streaming.adapt_bitrate("s", None, 0.5)
    session = service.sessions.called("s")
    assert session is not None
    assert session.delivery.stream.metrics.packets_lost == len(answer.frames) / 2, (
        "half of what was sent since the last report"
    )
    assert service.streaming.skip_frames_for_congestion(answer.frames, 0.6) == answer.frames[::2]
    assert service.video.get_buffered_frames("s") == []
    assert service.video.get_metrics().frames_generated >= len(answer.frames)


async def test_an_answer_says_how_far_the_viewer_sees_the_picture_from_its_sound(
    service: LipSyncService,
) -> None:
    first = await service.process_lip_sync(request(audio_chunk=chunk(0, 0.5)))
    assert first.sync_state.offset_ms == 0.0, "nothing was measured yet"
    for _ in range(3):
        service.streaming.calculate_sync_state("s", 5000.0, 5060.0)
    ahead = (await service.process_lip_sync(request(5, audio_chunk=chunk(5, 0.3)))).sync_state
    assert (ahead.offset_ms, ahead.is_in_sync, ahead.correction_applied_ms) == (60.0, False, 0.0)
    state = service.streaming.calculate_sync_state("s", 5000.0, 5060.0)
    assert state.correction_applied_ms == 30.0, "four measurements are believed, by half"
    later = await service.process_lip_sync(request(8, audio_chunk=chunk(8, 0.2)))
    assert (later.sync_state.offset_ms, later.sync_state.correction_applied_ms) == (30.0, 30.0)
    coded = await service.prepare_for_streaming("s", later.frames)
    assert [frame.timestamp_ms - frame.audio_timestamp_ms for frame in coded] == [30.0] * len(coded)
    with pytest.raises(LipSyncError, match="start anew"):
        for _ in range(60):
            service.streaming.calculate_sync_state("s", 5000.0, 9000.0)


async def test_features_are_forgotten_after_the_configured_time(tmp_path: Path) -> None:
    for ttl_s, remembered in ((300.0, True), (0.0, False)):
        service = LipSyncService(
            config=ServiceConfig(storage=tmp_path, audio_feature_cache_ttl=ttl_s)
        )
        assert (
            service.audio.extract_features(chunk()) is service.audio.extract_features(chunk())
        ) is remembered
