from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from sedano.testing.node import Node

PROJECT = """
from sedano import Sedano

app = Sedano("proj")

@app.task
def add(x, y):
    return x + y

@app.task
def boom():
    raise ValueError("boom", 42)

@app.task(queue="mail")
def mail(to):
    return f"sent to {to}"
"""


@dataclass(frozen=True)
class Shell:
    """Runs the command in the project's folder, as a user would."""

    folder: Path

    def __call__(
        self, *words: str, app: str | None = "proj", stdin: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        before = ["-A", app] if app is not None else []
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("CELERY_", "SEDANO_"))}
        return subprocess.run(
            [sys.executable, "-m", "sedano", *before, *words],
            cwd=self.folder,
            env={**clean, **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def make_project(folder: Path, files: dict[str, str]) -> Shell:
    # A marker of a project: the embedded store lies beside it.
    for name, text in {"pyproject.toml": "", **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Shell(folder)


@contextlib.contextmanager
def serving(folder: Path, project: str, name: str, *options: str) -> Iterator[Shell]:
    """A project whose worker is ready."""
    shell = make_project(folder, {"proj.py": project})
    with Node("proj", cwd=folder, name=name, concurrency=1, options=options) as node:
        node.wait_ready()
        yield shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return make_project(tmp_path, {"proj.py": PROJECT})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A project whose worker runs, for the commands that only ask."""
    with serving(tmp_path_factory.mktemp("served"), PROJECT, "cli@test", "-Q", "celery,mail") as shell:
        yield shell


def lines(words: Sequence[str] | str) -> list[str]:
    return [line for line in (words.splitlines() if isinstance(words, str) else words) if line.strip()]
