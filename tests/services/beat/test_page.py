"""The example of docs/how-to/periodic-tasks.md."""

from __future__ import annotations

import re
from pathlib import Path

from tests.beats import BeatNode

from sedano.testing.node import Node

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "periodic-tasks.md"


def test_given_the_bakery_of_the_page_when_its_commands_are_typed_then_they_say_what_it_says(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (tmp_path / "bakery.py").write_text(re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[0])
    shown = re.findall(r"^celery beat v.*?(?=^```$)", text, re.DOTALL | re.MULTILINE)[0].splitlines()
    with (
        Node("bakery", cwd=tmp_path, concurrency=1, options=["-Q", "celery,accounts"]) as worker,
        BeatNode("bakery", cwd=tmp_path) as beat,
    ):
        beat.wait_sent("look-into-the-oven")
        worker.wait_for_line("it rises")
        assert beat.stop() == 0
        said = beat.log().splitlines()
    assert [without_numbers(line) for line in said[: len(shown)]] == [without_numbers(line) for line in shown]
    assert not [line for line in said if "WARNING" in line or "ERROR" in line]


def without_numbers(line: str) -> str:
    """Versions, dates and times of a run are its own; so are the folders of this one."""
    return re.sub(r"\d+", "0", line) if "maxinterval" not in line else line
