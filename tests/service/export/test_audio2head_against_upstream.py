"""Audio2Head's heavy networks against the records; the whole program is compared by `python -m
export verify audio2head`.
"""

from __future__ import annotations

import pytest
from project_root import ROOT

torch = pytest.importorskip(
    "torch", reason="torch is not installed; it comes with the extra 'export'"
)

from export.networks.audio2head import verification  # noqa: E402
from export.networks.audio2head.pipeline import Audio2Head  # noqa: E402
from export.reference import Reference  # noqa: E402

RECORDS = ROOT / "tests" / "data" / "reference" / "audio2head"


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(RECORDS, seed=1)


@pytest.fixture(scope="module")
def networks(reference: Reference) -> Audio2Head:
    return verification.seeded_networks(reference)


STAGES = [
    verification.pose_outputs,
    verification.generator_outputs,
    verification.audio2kp_outputs,
]


def test_audio2head_s_constants_equal_upstream_s(
    reference: Reference, networks: Audio2Head
) -> None:
    for key, output in verification.constant_outputs(networks):
        assert reference.error(key, output) <= reference.tolerance(key), key


@pytest.mark.parametrize("outputs", STAGES, ids=lambda stage: stage.__name__)
def test_an_audio2head_stage_equals_upstream_s(
    reference: Reference, networks: Audio2Head, outputs: object
) -> None:
    with torch.no_grad():
        for key, output in outputs(reference, networks):  # type: ignore[operator]
            assert reference.error(key, output) <= reference.tolerance(key), key
