"""`sedano init`: each kind of project is written, tested by its own test, and run as its README says."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.interop.environments import clean_environment
from tests.journeys.environment import commands_folder
from tests.services.cli.conftest import Shell, lines

from sedano.cli.init import KINDS, name_of, render
from sedano.testing.node import Node

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def python() -> Path:
    """An interpreter with the web frameworks and this checkout."""
    return commands_folder() / "python"


def run(folder: Path, *words: str | Path) -> str:
    done = subprocess.run(
        words, cwd=folder, env=clean_environment({}), capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_given_a_plain_project_when_it_is_run_as_its_readme_says_then_it_works(shell: Shell) -> None:
    written = shell("init", "shop", app=None)
    assert written.returncode == 0
    folder = shell.folder / "shop"
    assert {str(shell.folder / line) for line in lines(written.stdout)} == {str(path) for path in folder.iterdir()}
    assert "2 passed" in run(folder, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    with Node("tasks", cwd=folder, name="w1@h", concurrency=1) as node:
        node.wait_ready()
        assert "2 + 3 = 5" in run(folder, sys.executable, "send.py")
        node.wait_for_line(r"INFO/ForkPoolWorker-1\] tasks\.add\[.*\]: adding 2 and 3")


def test_given_a_project_when_it_is_to_be_written_again_then_nothing_is_touched(shell: Shell) -> None:
    (shell.folder / "shop").mkdir()
    (shell.folder / "shop" / "tasks.py").write_text("mine")
    refused = shell("init", "shop", app=None)
    assert refused.returncode == 1
    assert "tasks.py already" in refused.stderr
    assert [path.name for path in (shell.folder / "shop").iterdir()] == ["tasks.py"]
    assert (shell.folder / "shop" / "tasks.py").read_text() == "mine"


@pytest.mark.parametrize("kind", KINDS)
def test_given_a_kind_when_it_is_written_then_its_readme_is_short_and_nothing_is_left_to_fill_in(kind: str) -> None:
    written = render(kind, "my-shop")
    assert len(written["README.md"].splitlines()) <= 25
    assert {"README.md", ".gitignore"} < set(written)
    assert any("test" in path for path in written)
    for text in written.values():
        assert "{{" not in text
        assert max((len(line) for line in text.splitlines()), default=0) <= 128
    for path, text in written.items():
        if path.endswith(".py"):
            compile(text, path, "exec")


@pytest.mark.parametrize(
    ("folder", "name"), [("shop", "shop"), ("My Shop_2", "my-shop-2"), ("...", "project"), ("商店", "project")]
)
def test_given_a_folder_when_a_project_is_named_after_it_then_the_name_is_one(folder: str, name: str) -> None:
    assert name_of(Path("/somewhere") / folder) == name


# -- with a framework --------------------------------------------------------------------------------------------------------

WEB = {
    "fastapi": ("tasks", ["-m", "uvicorn", "web:web", "--port", "{port}"], ["-m", "pytest", "-q"]),
    "flask": ("tasks", ["-m", "flask", "--app", "web", "run", "--port", "{port}"], ["-m", "pytest", "-q"]),
    "django": ("config", ["manage.py", "runserver", "{port}", "--noreload"], ["manage.py", "test"]),
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def server(folder: Path, words: Sequence[str | Path], port: int) -> Iterator[None]:
    """A web server, from when it accepts connections."""
    log = folder.parent / "web.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(words, cwd=folder, env=clean_environment({}), stdout=stream, stderr=stream)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)  # a foreign process: it can only be asked again
        yield
    finally:
        process.kill()
        process.wait()


def ask(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


@pytest.mark.parametrize("kind", list(WEB))
def test_given_a_web_project_when_it_is_run_as_its_readme_says_then_a_request_is_worked_on(
    shell: Shell, python: Path, kind: str
) -> None:
    app, serve, test = WEB[kind]
    assert shell("init", f"--{kind}", "shop", app=None).returncode == 0
    folder = shell.folder / "shop"
    assert re.search(r"1 passed|Ran 1 test", run(folder, python, *test))

    port = free_port()
    node = Node(app, cwd=folder, name="w1@h", concurrency=1, command=[str(python), "-m", "sedano"])
    with node, server(folder, [python, *(word.format(port=port) for word in serve)], port):
        node.wait_ready()
        call_id = ask(f"http://127.0.0.1:{port}/additions", {"x": 2, "y": 3})["id"]
        node.wait_for_line(rf"Task .*add\[{call_id}\] succeeded", PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while (shown := ask(f"http://127.0.0.1:{port}/calls/{call_id}"))["state"] == "PENDING":
            assert time.monotonic() < deadline, node.log()
            time.sleep(0.05)  # the line is written before the store has the result
        assert shown == {"state": "SUCCESS", "result": 5}
