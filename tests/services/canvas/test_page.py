"""The examples of the page about workflows do what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sedano import current
from sedano.testing.worker import start_worker

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "workflows.md"


def test_given_the_page_about_workflows_when_its_examples_run_then_they_hold() -> None:
    first, *others = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    before = current.get_app()
    names: dict[str, Any] = {"__name__": "proj"}
    exec(first, names)
    try:
        fan_out = next(block for block in others if "def fan_out" in block)
        declared, asserted = fan_out.split("\n\n", 1)
        exec(declared, names)
        with start_worker(names["app"]):
            for block in [*(each for each in others if each is not fan_out), asserted]:
                exec(compile(block, PAGE.name, "exec"), names)
    finally:
        names["app"].close()
        current.set_app(before)
    assert len(others) >= 8
