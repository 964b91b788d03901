"""The specification's table is complete, and says the truth: every name is in the code, every test
exists.
"""

from __future__ import annotations

import ast
import re

import pytest
from project_root import ROOT

TABLE = (ROOT / "docs" / "specification.md").read_text()
NAME = r"`(?P<name>[A-Za-z_0-9]+)` \|(?: `(?P<ours>[A-Za-z_0-9]+)` \|)?"
ROW = re.compile(
    rf"^\| {NAME} \[(?P<file>[^]]+)\]\([^)]+\) \| `(?P<tests>[^`]+)`: `(?P<test>\w+)` \|$"
)

METHODS = {
    "LipSyncService": (
        "processLipSync selectModel benchmarkModels switchModel getModelPerformance "
        "getHealthStatus prepareForStreaming endSession"
    ),
    "AudioFeatureService": "extractFeatures extractStreamingFeatures assessAudioQuality detectPhonemes "
    "preprocessForLipSync",
    "FaceModelCacheService": "loadFaceModel getPreprocessedData validateCompatibility preloadForUsers "
    "hotSwapModel optimizeForModel",
    "VideoGeneratorService": "generateFrames interpolateFrames dropFramesForPerformance getBufferedFrames "
    "getMetrics",
    "VideoStreamingService": (
        "prepareFramesForStreaming createWebSocketMessage calculateSyncState applySyncCorrection "
        "adaptBitrate skipFramesForCongestion"
    ),
}
"""As the specification lists them."""

FIELDS = {
    "audio chunk": "data timestamp sequenceNumber sampleRate channels format",
    "audio features": "melSpectrogram mfcc energy pitch timestamp duration sampleRate",
    "audio processing config": "hopLength windowLength nMels fMin fMax",
    "phoneme": "phoneme startTime endTime confidence",
    "audio quality": "snr clarity volume hasClipping silenceRatio",
    "face model": "id userId modelPath resolution keypoints embeddings neutralPose "
    "expressionTemplates createdAt qualityScore",
    "preprocessed face": "alignedFace landmarks embedding textureMap meshData",
    "compatibility": "modelId compatibleLipSyncModels recommendedModel issues",
    "video generation config": "targetFps resolution format quality enableInterpolation",
    "generated frame, drawn": "data audioTimestamp sequenceNumber lipSyncModel generationTimeMs isInterpolated",
    "generated frame, coded": "data timestamp audioTimestamp format width height sequenceNumber lipSyncModel "
    "isInterpolated",
    "generation metrics": "framesGenerated framesDropped averageGenerationTimeMs averageFps "
    "bufferUnderruns modelSwitches",
    "streaming metrics": "bytesSent packetsLost latencyMs jitterMs currentBitrate",
    "sync state": "audioTimestamp videoTimestamp offsetMs isInSync correctionApplied",
    "model performance": (
        "model averageLatencyMs p95LatencyMs p99LatencyMs successRate qualityScore "
        "gpuUtilization memoryUsageMb framesPerSecond lastUpdated"
    ),
    "benchmark result": (
        "model testDurationMs framesGenerated averageLatencyMs maxLatencyMs minLatencyMs "
        "qualityScore gpuMemoryPeakMb isRecommended"
    ),
    "selection criteria": "maxLatencyMs minQualityScore preferredModel networkBandwidthKbps gpuAvailable",
    "request": "sessionId userId audioChunk faceModelId config modelPreference",
    "response": "sessionId frames syncState metrics",
    "response metrics": "processingTimeMs modelUsed framesGenerated",
}

ERROR_CODES = (
    "FACE_MODEL_NOT_FOUND FACE_MODEL_INCOMPATIBLE AUDIO_PROCESSING_FAILED "
    "VIDEO_GENERATION_FAILED GPU_UNAVAILABLE MODEL_LOAD_FAILED SYNC_ERROR BUFFER_OVERFLOW TIMEOUT"
)
SETTINGS = (
    "defaultModel fallbackChain maxConcurrentSessions faceModelCacheSize audioFeatureCacheTtl "
    "frameCacheTtl enableAdaptiveModelSelection performanceMonitoringInterval"
)
MESSAGES = (
    "lipsync_audio response_video end_utterance interruption response_start response_end error "
    "switch_model client_report end_session model_switched"
)


def sections() -> dict[str, str]:
    """Text below each heading, by the heading."""
    parts = re.split(r"^#+ (.+)$", TABLE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(section: str) -> list[re.Match[str]]:
    return [match for line in sections()[section].splitlines() if (match := ROW.match(line))]


EXPECTED = (
    METHODS | FIELDS | {"Error codes": ERROR_CODES, "Settings": SETTINGS, "Messages": MESSAGES}
)
ROWS = [
    pytest.param(section, row, id=f"{section}: {row['name']}")
    for section in EXPECTED
    for row in rows(section)
]


@pytest.mark.parametrize("section", EXPECTED)
def test_every_name_of_the_specification_has_its_line(section: str) -> None:
    assert [row["name"] for row in rows(section)] == EXPECTED[section].split()


@pytest.mark.parametrize(("section", "row"), ROWS)
def test_every_line_is_true(section: str, row: re.Match[str]) -> None:
    source = (ROOT / row["file"]).read_text()
    name = row["ours"] or row["name"]
    assert name in _names(source, _class_of(section)), f"{name} is not in {row['file']}"
    assert re.search(rf"def {row['test']}\(", (ROOT / row["tests"]).read_text()), (
        f"no {row['test']} in {row['tests']}"
    )


@pytest.mark.parametrize(
    "method", [method for names in METHODS.values() for method in names.split()]
)
def test_every_method_is_called_by_the_service_or_shown_on_a_page(method: str) -> None:
    ours = re.sub("([A-Z])", r"_\1", method).lower()
    called = re.compile(rf"\.{ours}\(")
    (row,) = [row for owner in METHODS for row in rows(owner) if row["name"] == method]
    callers = [
        source for source in (ROOT / "orchestrator").rglob("*.py") if source != ROOT / row["file"]
    ] + [ROOT / "docs" / "python.md"]
    assert any(called.search(source.read_text()) for source in callers), f"nobody calls {method}"


def _class_of(section: str) -> str | None:
    """The class that a section speaks of; None where its names stand in the file itself."""
    if section in METHODS:
        return section
    heading = re.search(r"of `(\w+)`", sections()[section])
    return {"Error codes": "LipSyncErrorCode", "Settings": "ServiceConfig"}.get(
        section, heading[1] if heading else None
    )


def _names(source: str, owner: str | None) -> set[str]:
    """Attributes and methods of a class, or the classes of a file."""
    classes = {
        node.name: node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)
    }
    if owner is None:
        return set(classes)
    body = classes[owner].body
    targets = [node.target for node in body if isinstance(node, ast.AnnAssign)]
    targets += [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    methods = {
        node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return methods | {target.id for target in targets if isinstance(target, ast.Name)}
