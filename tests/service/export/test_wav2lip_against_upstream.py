"""Every output that upstream's Wav2Lip recorded, by name."""

from __future__ import annotations

import pytest
from project_root import ROOT

pytest.importorskip("torch", reason="torch is not installed; it comes with the extra 'export'")

from export.networks.wav2lip.verification import outputs
from export.reference import Reference

RECORDS = ROOT / "tests" / "data" / "reference" / "wav2lip"


def test_every_recorded_output_is_met() -> None:
    reference = Reference(RECORDS, seed=1)
    compared = {
        key: (reference.error(key, output), reference.tolerance(key))
        for key, output in outputs(reference)
    }
    assert compared.keys() == set(reference.expected)
    assert {key: pair for key, pair in compared.items() if pair[0] > pair[1]} == {}
