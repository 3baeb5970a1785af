"""The example of docs/reference/control.md: commands of one's own, by the command line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.services.settings.nodes import NodeProject

from sedano.app.commands import BUILTIN

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "control.md"


def test_given_the_commands_of_the_page_when_they_are_typed_then_the_node_answers(tmp_path: Path) -> None:
    project = NodeProject(tmp_path / "project")
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (project.folder / "commands.py").write_text(code, encoding="utf-8")
    project.ready({"include": ["commands"]}, name="w1@host")

    def typed(*words: str) -> str:
        command = [sys.executable, "-m", "sedano", "-A", "tasks", *words, "--timeout", "60"]
        done = subprocess.run(command, cwd=project.folder, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        assert re.fullmatch(r"->  w1@host: OK\n    \d+\n\n1 node online\.\n", typed("inspect", "free_disk"))
        assert typed("control", "log_level", "DEBUG") == "->  w1@host: OK\n        level is DEBUG\n"
        assert typed("status") == "->  w1@host: OK\n\n1 node online.\n"
        assert "log_level <level>" in typed("control", "--list")
    finally:
        project.close()


@pytest.mark.parametrize("word", ["inspect", "control"])
def test_the_page_names_every_command(word: str) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [info.name for info in BUILTIN if info.type == word and f"`{info.name}`" not in text] == []
