"""The examples of the how-to pages do what the pages say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.services.app.conftest import Consumer

from sedano import current

HOW_TO = Path(__file__).resolve().parents[3] / "docs" / "how-to"


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (HOW_TO / page).read_text(), re.DOTALL | re.MULTILINE)


def test_given_the_page_about_results_when_its_examples_run_then_they_hold() -> None:
    before = current.get_app()
    names: dict[str, Any] = {"__name__": "proj"}
    first, *others = blocks("wait-for-results.md")
    exec(first, names)
    try:
        with Consumer(names["app"]):
            for block in others:
                exec(compile(block, "wait-for-results.md", "exec"), names)
    finally:
        names["app"].close()
        current.set_app(before)
    assert len(others) >= 7
