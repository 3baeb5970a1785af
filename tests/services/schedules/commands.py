"""Many commands in one process: each costs what it does, and not the start of a Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROGRAM = """
import json, sys
from click.testing import CliRunner
from sedano.cli.group import cli

found = []
for words in json.load(sys.stdin):
    done = CliRunner().invoke(cli, words)
    found.append([done.exit_code, done.stdout, done.stderr])
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


def run_all(folder: Path, commands: Sequence[Sequence[str]]) -> list[Said]:
    """What each of the commands (without the word `sedano`) said, in the order given."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])},
        input=json.dumps([list(words) for words in commands]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Said(*each) for each in json.loads(done.stdout)]
