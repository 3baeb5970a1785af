"""Both checkers agree with the examples: what is marked is an error, nothing else is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = Path(__file__).with_name("examples.py")


def marked_lines() -> set[int]:
    lines = EXAMPLES.read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# error")}


def lines_refused_by_mypy(cache: Path) -> dict[int, str]:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", f"--cache-dir={cache}", str(EXAMPLES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.findall(rf"{re.escape(EXAMPLES.name)}:(\d+): error: (.*)", done.stdout)
    assert done.returncode in (0, 1), done.stderr
    return {int(line): text for line, text in found}


def lines_refused_by_pyright() -> dict[int, str]:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(EXAMPLES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    return {
        item["range"]["start"]["line"] + 1: item["message"]
        for item in report["generalDiagnostics"]
        if item["severity"] == "error"
    }


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_given_the_examples_when_a_checker_reads_them_then_it_refuses_just_the_marked_lines(
    checker: str, tmp_path: Path
) -> None:
    refused = lines_refused_by_mypy(tmp_path) if checker == "mypy" else lines_refused_by_pyright()
    assert {line: refused.get(line, "not refused") for line in marked_lines() ^ refused.keys()} == {}
