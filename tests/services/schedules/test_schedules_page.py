"""The programs and commands of docs/how-to/schedules.md do what the page says."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.services.schedules.commands import run_all

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "schedules.md"
PATIENCE_S = 60.0


def test_given_the_page_when_its_programs_and_commands_run_then_they_do_what_it_says(tmp_path: Path) -> None:
    text = PAGE.read_text()
    for name, program in re.findall(r"^```python\n# (\S+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        (tmp_path / name).write_text(program)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    made = subprocess.run([sys.executable, "change.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert made.returncode == 0, made.stderr
    assert "07:30:00" in made.stdout
    with (tmp_path / "beat.log").open("w") as log:
        command = [sys.executable, "-m", "sedano", "-A", "clinic", "beat", "-l", "info"]
        beat = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while "Sending due task sweep (clinic.remind)" not in (tmp_path / "beat.log").read_text():
            assert time.monotonic() < deadline, (tmp_path / "beat.log").read_text()
            time.sleep(0.1)
    finally:
        beat.send_signal(signal.SIGTERM)
        assert beat.wait(PATIENCE_S) == 0
    commands = [shlex.split(line) for line in re.findall(r"^\$ sedano (.*schedule .*)$", text, re.MULTILINE)]
    commands = [words for words in commands if words[3] != "lint"]
    shown = {words[3]: said for words, said in zip(commands, run_all(tmp_path, commands), strict=True)}
    assert {name: said.code for name, said in shown.items() if said.code} == {}, shown
    assert len(shown) == 8
    assert "mr-ito\tclinic.remind" in shown["list"].out
    assert shown["next"].out.count("T") == 3
    assert "asked for by hand" in shown["history"].out
    assert "Deleted mr-ito" in shown["delete"].out
