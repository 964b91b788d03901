"""The pages are plain to read: short paragraphs, headings that name a subject, links that resolve."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from project_root import ROOT

PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")] + sorted(
    (ROOT / "docs").rglob("*.md")
)
MAX_P90_WORDS = 60
QUESTION = re.compile(
    r"^(Whether|Which|What|Who|Whose|How|Where|When|Why|Is|Are|Does|Can)\b|\?\s*$"
)
LINE_START = re.compile(r"\n(?=\s*(?:[*-] |\d+\. |#|\|))")
LINK = re.compile(r"\]\(([^)\s#]*\.md)?#([^)\s]+)\)")


def prose(page: Path) -> str:
    """Text of a page without its blocks of code."""
    return re.sub(r"^[ ]*```.*?^[ ]*```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def paragraph_words(page: Path) -> list[int]:
    """Words of each paragraph and list item; headings, tables and indented code are none."""
    parts = [
        part.strip("\n")
        for block in re.split(r"\n\s*\n", prose(page))
        for part in LINE_START.split(block)
    ]
    return [
        len(part.split()) for part in parts if part.strip() and not re.match(r"\s*[#|<]| {4}", part)
    ]


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings as GitHub makes them."""
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings(page)}


def test_nine_of_ten_paragraphs_have_sixty_words_at_most() -> None:
    words = sorted(count for page in PAGES for count in paragraph_words(page))
    assert words[int(0.9 * len(words))] <= MAX_P90_WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_heading_is_a_question(page: Path) -> None:
    assert [title for title in headings(page) if QUESTION.search(title)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_headings_resolve(page: Path) -> None:
    targets = [
        (page.parent / name if name else page, anchor)
        for name, anchor in LINK.findall(page.read_text())
    ]
    assert [
        f"{target.name}#{anchor}" for target, anchor in targets if anchor not in anchors(target)
    ] == []


@pytest.mark.parametrize(
    ("term", "page"),
    [
        ("backpressure", "protocol.md"),
        ("evict", "operations.md"),
        ("graceful shutdown", "operations.md"),
        ("admission control", "operations.md"),
        ("circuit breaker", "operations.md"),
        ("rate limit", "protocol.md"),
        ("presentation timestamp", "protocol.md"),
        ("playout delay", "page.md"),
        ("stale-while-revalidate", "architecture.md"),
        ("exponential backoff", "triton.md"),
    ],
)
def test_the_fields_term_stands_where_the_thing_is(term: str, page: str) -> None:
    assert term in " ".join((ROOT / "docs" / page).read_text().lower().split())
