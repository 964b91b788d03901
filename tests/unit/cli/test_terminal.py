"""Commands speak plainly: aligned tables, a bar only for people, one line per error with what to
do.
"""

from __future__ import annotations

import io

import pytest

from orchestrator.cli.terminal import Progress, explain, table
from orchestrator.core.errors import LipSyncError, LipSyncErrorCode


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def test_columns_are_aligned_and_numbers_flush_right() -> None:
    lines = table([("name", "ms"), ("a", "10.0"), ("longer", "2.5")], right=(1,)).splitlines()
    assert lines == ["name      ms", "------  ----", "a       10.0", "longer   2.5"]


def test_a_terminal_sees_a_bar_that_goes_away() -> None:
    stream = Terminal()
    with Progress("drawing", 10, unit="frames", stream=stream) as progress:
        progress.show(10)
    assert "drawing [" + "#" * 30 + "] 10/10 frames" in stream.getvalue()
    assert stream.getvalue().endswith("\r\033[K")


def test_a_file_gets_one_plain_line() -> None:
    stream = io.StringIO()
    with Progress("drawing", 10, unit="frames", stream=stream) as progress:
        progress.show(5)
        progress.show(10)
    assert stream.getvalue() == "drawing: 10 frames\n"


def test_a_file_gets_no_line_when_the_work_failed() -> None:
    stream = io.StringIO()
    with pytest.raises(RuntimeError), Progress("drawing", 10, unit="frames", stream=stream):
        raise RuntimeError
    assert stream.getvalue() == ""


def test_an_error_is_one_line_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        explain(
            LipSyncError(LipSyncErrorCode.FACE_MODEL_NOT_FOUND, "no face model 'x'\nfor user 'u'")
        )
        == 1
    )
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        line == "lipsync: no face model 'x' for user 'u' (enrol one: lipsync enroll PHOTO "
        "--user U --id F --consent)"
    )


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    explain(FileNotFoundError(2, "No such file or directory", "photo.jpg"))
    assert capsys.readouterr().err == "lipsync: photo.jpg: No such file or directory\n"


def test_reasons_stand_in_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    reasons = [
        {"code": "BLURRED", "message": "hold still", "measured": 0.001},
        {"code": "TOO_DARK", "message": "more light", "measured": 9.0},
    ]
    explain(
        LipSyncError(
            LipSyncErrorCode.FACE_MODEL_INCOMPATIBLE, "photo: ...", details={"reasons": reasons}
        )
    )
    assert capsys.readouterr().err.splitlines() == [
        "lipsync: the photo cannot be used:",
        "  hold still (BLURRED, measured 0.001)",
        "  more light (TOO_DARK, measured 9.0)",
    ]
