"""docs/tutorial.md holds when it is typed in, line by line, with no server."""

from __future__ import annotations

import re
from pathlib import Path

from tests.interop.environments import ROOT
from tests.journeys.conftest import free_ports
from tests.journeys.reader import Reader

TUTORIAL = ROOT / "docs" / "tutorial.md"


def test_given_the_tutorial_when_it_is_followed_then_it_holds(commands: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tutorial"
    folder.mkdir()
    text = TUTORIAL.read_text(encoding="utf-8")
    (folder / "README.md").write_text(text, encoding="utf-8")
    (folder / "pyproject.toml").touch()
    blocks = re.findall(r"^```python\n# tasks\.py(?:, below)?\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    (folder / "tasks.py").write_text("\n\n".join(blocks), encoding="utf-8")
    reader = Reader(folder, tmp_path, commands, free_ports(1)[0], {})
    try:
        reader.follow()
        (worker,) = reader.workers
        worker.wait_for(r"Task tasks\.total\[.*\] succeeded")
        assert worker.press_control_c() == 1
        assert (folder / ".sedano").is_dir()
    finally:
        reader.close()
