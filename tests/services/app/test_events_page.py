"""The programs of docs/how-to/events.md do what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "events.md"
PATIENCE_S = 60.0


def write_programs(folder: Path) -> None:
    for name, text in re.findall(r"^```python\n# (\S+)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE):
        (folder / name).write_text(text)


def until(claim: Callable[[], bool], act: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not claim():
        assert time.monotonic() < deadline
        act()


def test_given_the_page_when_its_programs_run_then_they_follow_what_the_project_announces(tmp_path: Path) -> None:
    write_programs(tmp_path)
    followed, pictures = tmp_path / "followed.txt", tmp_path / "pictures.txt"
    command = [sys.executable, "-m", "sedano", "-A", "proj", "events", "-c", "camera.Camera", "--frequency", "0.1"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with followed.open("w") as one, pictures.open("w") as other:
        programs = [
            subprocess.Popen([sys.executable, "follow.py"], cwd=tmp_path, env=environment, stdout=one),
            subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=other),
        ]
        try:
            speak = "import proj; proj.announce(); proj.convert.apply((2,), throw=True)"
            until(
                lambda: "task-progress" in followed.read_text() and " 1 calls" in pictures.read_text(),
                lambda: subprocess.run([sys.executable, "-c", speak], cwd=tmp_path, env=environment, check=True),
            )
        finally:
            for program in programs:
                program.terminate()
                program.wait(PATIENCE_S)
    assert "custom-import-done gen" in followed.read_text()
    assert re.search(r"(?m)^\d+ events, \d+ calls$", pictures.read_text())
