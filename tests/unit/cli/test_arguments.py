"""Numbers on the command line are refused before anything is measured with them."""

from __future__ import annotations

import pytest

from orchestrator.__main__ import main


@pytest.mark.parametrize(
    "arguments",
    [
        ["--sessions", "0"],
        ["--sessions", "-1"],
        ["--sessions", "1.5"],
        ["--seconds", "0"],
        ["--seconds", "-3"],
        ["--seconds", "nan"],
        ["--seconds", "inf"],
        ["--fps", "nan"],
        ["--fps", "fast"],
    ],
    ids=" ".join,
)
def test_a_benchmark_of_nothing_is_bad_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", *arguments])
    assert stop.value.code == 2
    assert f"argument {arguments[0]}: '{arguments[1]}': must be a " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "value"), [("--port", "99999"), ("--port", "http"), ("--chunk-deadline-ms", "-1")]
)
def test_a_flag_is_held_to_the_range_of_its_setting(
    flag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", flag, value]) == 1
    key = flag.strip("-").replace("-", "_")
    assert (
        f"lipsync: {key} cannot be '{value}'; expected a whole number from "
        in capsys.readouterr().err
    )
