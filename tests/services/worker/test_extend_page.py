"""The examples of docs/how-to/extend-the-worker.md, typed and run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.servers import RedisServer

from sedano.testing.node import Node

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "extend-the-worker.md"
PROJ = """
from sedano import Sedano
app = Sedano("proj", broker={url!r}, backend={url!r})

@app.task
def add(x, y):
    return x + y
"""
INFO = "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n"


@pytest.fixture
def folder(tmp_path: Path, redis_server: RedisServer) -> Path:
    redis_server.command("FLUSHALL")
    text = PAGE.read_text(encoding="utf-8")
    for name, code in re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        (tmp_path / name).write_text(code, encoding="utf-8")
    (tmp_path / "proj.py").write_text(PROJ.format(url=redis_server.url))
    info = tmp_path / "greeting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(INFO)
    (entry,) = re.findall(r"^greet = .*$", text, re.MULTILINE)
    (info / "entry_points.txt").write_text(f"[celery.commands]\n{entry.replace(chr(34), '')}\n")
    return tmp_path


def typed(folder: Path, *words: str) -> str:
    command = [sys.executable, "-m", "sedano", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_is_opened_for_a_process_is_there_for_its_tasks(folder: Path) -> None:
    with Node("warm", cwd=folder, concurrency=1) as node:
        node.wait_ready()
        task_id = typed(folder, "-A", "warm", "call", "warm.look").strip()
        node.wait_for_line(f"{task_id}.*succeeded in .*: 'open'")


def test_options_of_the_app_reach_their_receivers(folder: Path) -> None:
    options = ["--site", "oslo", "--oven", "hot"]
    with Node("sites", cwd=folder, concurrency=1, options=options) as node:
        node.wait_for_line("the oven is hot")
        node.wait_ready()
        task_id = typed(folder, "-A", "sites", "call", "proj.add", "-a", "[1, 2]", "--site", "oslo").strip()
        node.wait_for_line(f"{task_id}.*succeeded in .*: 3")


def test_a_step_lives_with_the_node(folder: Path) -> None:
    with Node("kitchen", cwd=folder, name="w1@kitchen", concurrency=1) as node:
        node.wait_ready()
        assert (folder / "open.txt").read_text() == "w1@kitchen"
        assert node.stop() == 0
    assert not (folder / "open.txt").exists()


def test_a_package_brings_a_command(folder: Path) -> None:
    assert typed(folder, "-A", "proj", "greet") == "hello from proj\n"
