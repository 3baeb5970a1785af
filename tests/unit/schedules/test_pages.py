"""The examples of the pages about schedules print what stands there."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"


@pytest.mark.parametrize("page", ["explanation/schedules-and-time.md", "reference/schedules.md"])
def test_examples_print_what_the_page_says(page):
    # A closing fence would be taken for what the last example prints.
    text = (DOCS / page).read_text().replace("```", "")
    test = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    said: list[str] = []
    result = doctest.DocTestRunner().run(test, out=said.append)
    assert (result.failed, "".join(said)) == (0, "")
    assert result.attempted >= 8
