"""Thirty situations, and the model that draws in each with the reason for it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from orchestrator.core.types import LipSyncModel
from orchestrator.pipeline.selection_policy import Candidate, Reason, SelectionContext, ranked

TPSM, WAV2LIP, SADTALKER, STATIC = (
    LipSyncModel.TPSM,
    LipSyncModel.WAV2LIP,
    LipSyncModel.SADTALKER,
    LipSyncModel.STATIC,
)
AUDIO2HEAD, NEURAL = LipSyncModel.AUDIO2HEAD, LipSyncModel.TPSM_NEURAL

LAPTOP = {
    TPSM: Candidate(0.7, p95_ms=12.0),
    WAV2LIP: Candidate(0.8, needs_gpu=True),
    SADTALKER: Candidate(0.85, needs_gpu=True, min_bandwidth_kbps=300.0),
}
"""Nothing but the built-in model was ever measured."""

SERVER = {
    TPSM: Candidate(0.7, p95_ms=12.0),
    WAV2LIP: Candidate(0.8, p95_ms=25.0, needs_gpu=True),
    SADTALKER: Candidate(0.85, p95_ms=60.0, needs_gpu=True, min_bandwidth_kbps=300.0),
}
"""A GPU, and all keep up."""

ALONE = {TPSM: LAPTOP[TPSM]}
CHAIN = (TPSM, WAV2LIP, SADTALKER, STATIC)


def but(
    models: dict[LipSyncModel, Candidate], model: LipSyncModel, **changes: Any
) -> dict[LipSyncModel, Candidate]:
    return models | {model: dataclasses.replace(models[model], **changes)}


def without(
    models: dict[LipSyncModel, Candidate], *gone: LipSyncModel
) -> dict[LipSyncModel, Candidate]:
    return {model: candidate for model, candidate in models.items() if model not in gone}


GPU: dict[str, Any] = {"gpu_available": True}

SITUATIONS: list[
    tuple[str, dict[LipSyncModel, Candidate], dict[str, Any], LipSyncModel, Reason]
] = [
    ("a laptop", LAPTOP, {}, TPSM, Reason.BEST_QUALITY),
    ("the built-in model alone", ALONE, {}, TPSM, Reason.BEST_QUALITY),
    ("the built-in model, never measured", {TPSM: Candidate(0.7)}, {}, TPSM, Reason.BEST_QUALITY),
    ("nothing is ready", {}, {}, STATIC, Reason.LAST_RESORT),
    ("a GPU server, all measured", SERVER, GPU, SADTALKER, Reason.BEST_QUALITY),
    ("a GPU server, nothing measured but the default", LAPTOP, GPU, TPSM, Reason.BEST_QUALITY),
    (
        "the best one is too slow",
        but(SERVER, SADTALKER, p95_ms=120.0),
        GPU,
        WAV2LIP,
        Reason.BEST_QUALITY,
    ),
    (
        "the best one is just fast enough",
        but(SERVER, SADTALKER, p95_ms=80.0),
        GPU,
        SADTALKER,
        Reason.BEST_QUALITY,
    ),
    (
        "a queue in Triton makes two too slow",
        but(but(SERVER, SADTALKER, p95_ms=200.0), WAV2LIP, p95_ms=90.0),
        GPU,
        TPSM,
        Reason.BEST_QUALITY,
    ),
    (
        "all are too slow",
        {model: dataclasses.replace(each, p95_ms=500.0) for model, each in SERVER.items()},
        GPU,
        TPSM,
        Reason.TOO_SLOW,
    ),
    (
        "longer chunks leave more time",
        but(SERVER, SADTALKER, p95_ms=120.0),
        GPU | {"chunk_ms": 200.0},
        SADTALKER,
        Reason.BEST_QUALITY,
    ),
    ("little bandwidth", SERVER, GPU | {"bandwidth_kbps": 200.0}, WAV2LIP, Reason.BEST_QUALITY),
    (
        "just enough bandwidth",
        SERVER,
        GPU | {"bandwidth_kbps": 300.0},
        SADTALKER,
        Reason.BEST_QUALITY,
    ),
    (
        "no GPU, but one was measured to keep up",
        but(LAPTOP, WAV2LIP, p95_ms=70.0),
        {},
        WAV2LIP,
        Reason.BEST_QUALITY,
    ),
    (
        "no GPU, and one was measured too slow",
        but(LAPTOP, WAV2LIP, p95_ms=160.0),
        {},
        TPSM,
        Reason.BEST_QUALITY,
    ),
    (
        "a model that often fails",
        but(SERVER, SADTALKER, quality=0.85 * 0.8),
        GPU,
        WAV2LIP,
        Reason.BEST_QUALITY,
    ),
    (
        "the face does not suit the best one",
        without(SERVER, SADTALKER),
        GPU,
        WAV2LIP,
        Reason.BEST_QUALITY,
    ),
    ("the default's circuit is open", without(SERVER, TPSM), GPU, SADTALKER, Reason.BEST_QUALITY),
    ("the default is away on a laptop", without(LAPTOP, TPSM), {}, WAV2LIP, Reason.NO_GPU),
    ("a wish", SERVER, GPU | {"preference": WAV2LIP}, WAV2LIP, Reason.REQUESTED),
    (
        "a wish for what is too slow",
        but(SERVER, WAV2LIP, p95_ms=500.0),
        GPU | {"preference": WAV2LIP},
        WAV2LIP,
        Reason.REQUESTED,
    ),
    (
        "a wish that had to give way",
        SERVER,
        GPU | {"preference": WAV2LIP, "benched": {WAV2LIP}},
        SADTALKER,
        Reason.BEST_QUALITY,
    ),
    (
        "a wish that had to give way on a laptop",
        LAPTOP,
        {"preference": WAV2LIP, "benched": {WAV2LIP}},
        TPSM,
        Reason.BEST_QUALITY,
    ),
    (
        "a wish where another had to give way",
        SERVER,
        GPU | {"preference": WAV2LIP, "benched": {TPSM}},
        WAV2LIP,
        Reason.REQUESTED,
    ),
    (
        "the default had to give way on a laptop",
        LAPTOP,
        {"benched": {TPSM}},
        STATIC,
        Reason.LAST_RESORT,
    ),
    (
        "the default had to give way where nothing else was measured",
        LAPTOP,
        GPU | {"benched": {TPSM}},
        STATIC,
        Reason.LAST_RESORT,
    ),
    (
        "the default had to give way on a server",
        SERVER,
        GPU | {"benched": {TPSM}},
        SADTALKER,
        Reason.BEST_QUALITY,
    ),
    ("the last resort is the default", SERVER, GPU | {"default": STATIC}, STATIC, Reason.DEFAULT),
    (
        "a wish where the last resort is the default",
        SERVER,
        GPU | {"default": STATIC, "preference": TPSM},
        TPSM,
        Reason.REQUESTED,
    ),
    ("a wish without a GPU", LAPTOP, {"preference": SADTALKER}, SADTALKER, Reason.REQUESTED),
    ("a wish for what is not ready", ALONE, {"preference": WAV2LIP}, TPSM, Reason.BEST_QUALITY),
    (
        "a wish for what no chain names",
        SERVER | {AUDIO2HEAD: Candidate(0.8)},
        GPU | {"preference": AUDIO2HEAD},
        AUDIO2HEAD,
        Reason.REQUESTED,
    ),
    (
        "what no chain names, unasked",
        ALONE | {NEURAL: Candidate(0.9, p95_ms=10.0)},
        GPU,
        TPSM,
        Reason.BEST_QUALITY,
    ),
    ("a wish for the last resort", SERVER, GPU | {"preference": STATIC}, STATIC, Reason.REQUESTED),
    (
        "a better one, but too soon",
        SERVER,
        GPU | {"current": TPSM, "drawn_s": 2.0},
        TPSM,
        Reason.KEPT,
    ),
    (
        "a better one, long enough",
        SERVER,
        GPU | {"current": TPSM, "drawn_s": 5.0},
        SADTALKER,
        Reason.BEST_QUALITY,
    ),
    (
        "a hardly better one",
        but(SERVER, SADTALKER, quality=0.83),
        GPU | {"current": WAV2LIP, "drawn_s": 60.0},
        WAV2LIP,
        Reason.KEPT,
    ),
    (
        "the one that draws became slow",
        but(SERVER, SADTALKER, p95_ms=300.0),
        GPU | {"current": SADTALKER},
        WAV2LIP,
        Reason.BEST_QUALITY,
    ),
    (
        "the one that draws is gone",
        without(SERVER, SADTALKER),
        GPU | {"current": SADTALKER, "drawn_s": 1.0},
        WAV2LIP,
        Reason.BEST_QUALITY,
    ),
    (
        "back from the last resort at once",
        SERVER,
        GPU | {"current": STATIC, "drawn_s": 0.1},
        SADTALKER,
        Reason.BEST_QUALITY,
    ),
    ("little patience", SERVER, GPU | {"max_latency_ms": 30.0}, WAV2LIP, Reason.BEST_QUALITY),
    (
        "a demand for quality that one meets",
        SERVER,
        GPU | {"min_quality": 0.82, "adaptive": False},
        SADTALKER,
        Reason.FALLBACK,
    ),
    (
        "a demand for quality that none meets",
        ALONE,
        {"min_quality": 0.9},
        TPSM,
        Reason.POOR_QUALITY,
    ),
    ("adaptation is off", SERVER, GPU | {"adaptive": False}, TPSM, Reason.DEFAULT),
    (
        "adaptation is off and the default away",
        without(SERVER, TPSM),
        GPU | {"adaptive": False},
        WAV2LIP,
        Reason.FALLBACK,
    ),
    (
        "another default, adaptation off",
        SERVER,
        GPU | {"adaptive": False, "default": SADTALKER},
        SADTALKER,
        Reason.DEFAULT,
    ),
]


@pytest.mark.parametrize(
    ("models", "given", "model", "reason"),
    [row[1:] for row in SITUATIONS],
    ids=[row[0] for row in SITUATIONS],
)
def test_the_model_for_the_situation(
    models: dict[LipSyncModel, Candidate],
    given: dict[str, Any],
    model: LipSyncModel,
    reason: Reason,
) -> None:
    context = SelectionContext(**({"default": TPSM, "chain": CHAIN} | given))
    choices = ranked(models, context)
    assert (choices[0].model, choices[0].reason) == (model, reason)
    assert len({choice.model for choice in choices}) == len(choices)
    assert choices[-1].model is STATIC or context.benched
    assert {choice.model for choice in choices} <= {*models, STATIC}


def test_the_rest_follows_in_the_order_of_the_chain_and_what_does_not_fit_behind_it() -> None:
    models = but(SERVER, WAV2LIP, p95_ms=500.0)
    choices = ranked(models, SelectionContext(default=TPSM, chain=CHAIN, gpu_available=True))
    assert [(choice.model, choice.reason) for choice in choices] == [
        (SADTALKER, Reason.BEST_QUALITY),
        (TPSM, Reason.DEFAULT),
        (WAV2LIP, Reason.TOO_SLOW),
        (STATIC, Reason.LAST_RESORT),
    ]


def test_what_had_to_give_way_and_what_nobody_measured_stand_after_the_last_resort() -> None:
    choices = ranked(
        LAPTOP,
        SelectionContext(
            default=TPSM,
            chain=CHAIN,
            preference=TPSM,
            gpu_available=True,
            benched=frozenset({TPSM}),
        ),
    )
    assert [(choice.model, choice.reason) for choice in choices] == [
        (STATIC, Reason.LAST_RESORT),
        (TPSM, Reason.TOO_SLOW),
        (WAV2LIP, Reason.FALLBACK),
        (SADTALKER, Reason.FALLBACK),
    ]
