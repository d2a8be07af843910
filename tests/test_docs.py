"""The pages show the real source: each quoted block is found in its file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
QUOTE = re.compile(r"<!-- source: (\S+) -->\n+```\w+\n(.*?)```", re.DOTALL)
QUOTES = [
    pytest.param(page, source, block, id=f"{page.stem}-{source}-{number}")
    for page in sorted((ROOT / "docs").rglob("*.md"))
    for number, (source, block) in enumerate(QUOTE.findall(page.read_text()))
]


@pytest.mark.parametrize(("page", "source", "block"), QUOTES)
def test_quoted_source_is_the_real_one(page: Path, source: str, block: str) -> None:
    """A block that names its file is a verbatim part of it."""
    assert block.strip() in (ROOT / source).read_text(), (
        f"{page.name} quotes {source}, which has changed. Copy the new text."
    )


def test_some_page_quotes_source() -> None:
    """The pattern that finds quotes still finds some."""
    assert QUOTES


@pytest.mark.parametrize(
    "page",
    sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"]),
    ids=lambda page: page.stem,
)
def test_links_lead_to_files(page: Path) -> None:
    """Every relative link and image of a page points to a file that exists."""
    links = re.findall(r"\]\((?!https?://|#|mailto:)([^)#\s]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []
