"""Docstrings of the code begin as a reader expects: with a noun phrase or an imperative."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from project_root import ROOT

PACKAGES = ("orchestrator", "export", "benchmarks")

QUESTION_WORDS = frozenset(
    ("whether", "which", "what", "who", "whoever", "whose", "how", "where", "when", "why")
)

SUMMARY_PACKAGES = (
    "orchestrator/rendering",
    "orchestrator/inference",
    "orchestrator/models",
    "orchestrator/audio",
    "orchestrator/faces",
    "orchestrator/client",
    "export",
    "benchmarks",
)
"""Packages whose docstrings begin with a summary that fits on one line."""

FILES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
SUMMARISED = [file for file in FILES if str(file.relative_to(ROOT)).startswith(SUMMARY_PACKAGES)]


def docstrings(file: Path) -> Iterator[tuple[str, str]]:
    """Place and text of every docstring of a file, those below constants included."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield f"{file.relative_to(ROOT)}:{node.lineno}", text


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_docstring_begins_with_an_indirect_question(file: Path) -> None:
    questions = [
        f"{place}: {text.splitlines()[0]}"
        for place, text in docstrings(file)
        if text.split()[0].lower().rstrip(",:") in QUESTION_WORDS
    ]
    assert questions == []


@pytest.mark.parametrize("file", SUMMARISED, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_first_line_of_a_docstring_is_a_whole_sentence(file: Path) -> None:
    broken = [
        f"{place}: {text.splitlines()[0]}"
        for place, text in docstrings(file)
        if len(text.splitlines()) > 1 and text.splitlines()[1].strip()
    ]
    assert broken == []
