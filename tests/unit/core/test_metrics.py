"""The metrics and the pages that speak of them agree, and names follow one pattern."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from project_root import ROOT

from orchestrator.core.errors import LipSyncErrorCode
from orchestrator.core.metrics import Metrics

DOCS = ROOT / "docs"
TABLE = DOCS / "metrics.md"
UNITS = ("_total", "_seconds", "_ms", "_bps", "_bytes", "_ratio")
UNITLESS = {
    "lipsync_sessions",
    "lipsync_speaking_sessions",
    "lipsync_waiting_sessions",
    "lipsync_capacity_faces",
    "lipsync_session_slots",
    "lipsync_buffered_frames",
    "lipsync_queue_fill",
    "lipsync_model_available",
    "lipsync_draining",
    "lipsync_triton_batch_size",
}
"""Counts of things and shares by their nature."""


def exported() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Names as a dashboard writes them, each with its type and its labels."""
    found = {}
    metrics = [
        each
        for each in vars(Metrics()).values()
        if hasattr(each, "describe") and hasattr(each, "_labelnames")
    ]
    for metric in metrics:
        (family,) = metric.describe()
        found[family.name + ("_total" if family.type == "counter" else "")] = (
            family.type,
            tuple(metric._labelnames),
        )
    return found


def named_in(page: Path) -> set[str]:
    return set(re.findall(r"`(lipsync_[a-z_]+)[`{]", page.read_text()))


def test_every_metric_has_its_row_with_type_and_labels() -> None:
    rows = re.findall(r"^\| `(lipsync_\w+)` \| (\w+)[^|]*\| ([^|]*)\|", TABLE.read_text(), re.M)
    told = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert told == exported()


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.name)
def test_every_metric_that_a_page_names_exists(page: Path) -> None:
    known = exported()
    endings = ("_bucket", "_count", "_sum")
    names = {re.sub(f"({'|'.join(endings)})$", "", name) for name in named_in(page)}
    assert names <= {*known, "lipsync_audio"}, "`lipsync_audio` is a message"


def test_every_error_is_counted_from_zero_so_that_a_rate_sees_the_first_one() -> None:
    page = Metrics().render().decode()
    for code in LipSyncErrorCode:
        assert f'lipsync_errors_total{{code="{code.value}",reason=""}} 0.0' in page


def test_names_tell_their_unit() -> None:
    assert {name for name in exported() if not name.endswith(UNITS)} == UNITLESS


def test_a_stage_that_fails_is_not_counted() -> None:
    metrics = Metrics()
    with pytest.raises(ValueError), metrics.stage("decode", "pcm"):
        raise ValueError
    with metrics.stage("decode", "opus"):
        pass
    text = metrics.render().decode()
    assert 'lipsync_stage_seconds_count{model="opus",stage="decode"} 1.0' in text
    assert "pcm" not in text
