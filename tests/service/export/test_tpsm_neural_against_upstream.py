"""TPSM's pictures and demo loop against upstream's records: about 13 frames of the heavy
renderer.
"""

from __future__ import annotations

import pytest
from project_root import ROOT

pytest.importorskip("torch", reason="torch is not installed: pip install -e .[export]")

from export.verify import main

FOLDER = ROOT / "tests" / "data" / "reference" / "tpsm"


def test_every_record_of_upstream_is_met(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["tpsm-neural", "--reference", str(FOLDER), "--seed", "1"])
    report = capsys.readouterr().out
    assert status == 0, report
    assert "66 of 66 outputs compared, 0 failed" in report
