"""The pages of the manual about the command are true: every option is named, every example runs as it is written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.services.cli.conftest import Shell, make_project

from sedano.cli.worker import worker
from sedano.testing.node import Node

DOCS = Path(__file__).parents[3] / "docs"
LOGGING = (DOCS / "how-to" / "logging.md").read_text()
START = (DOCS / "how-to" / "start-a-project.md").read_text()


def examples(page: str) -> dict[str, str]:
    """File name -> text of the Python examples that begin with their name."""
    blocks = re.findall(r"```python\n(# (\w+\.py)\n.*?)```", page, re.DOTALL)
    return {name: text for text, name in blocks}


def test_given_the_page_of_the_worker_when_compared_with_the_command_then_it_names_each_option_and_no_other() -> None:
    page = (DOCS / "reference" / "worker.md").read_text()
    tables = [line for line in page.splitlines() if line.startswith("| `-")]
    told = set(re.findall(r"`(--?[a-zA-Z][\w-]*)`", " ".join(line.split("|")[1] for line in tables)))
    assert told == {name for param in worker.params for name in param.opts}


def test_given_the_page_on_logging_when_its_tasks_run_then_the_log_is_as_it_says(tmp_path: Path) -> None:
    shell = make_project(tmp_path, examples(LOGGING))
    with Node("tasks", cwd=tmp_path, name="w1@h", concurrency=1, options=["--log-format", "json"]) as node:
        node.wait_ready()
        task_id = shell("call", "tasks.add", "-a", "[1, 2]", app="tasks").stdout.strip()
        node.wait_for_line("succeeded in")
        assert node.stop() == 0
        records = [json.loads(line) for line in node.lines]  # all of them: no banner, no word beside the log
    by_message = {record["message"].split("[")[0]: record for record in records}
    added = by_message["adding 1 and 2"]
    assert (added["level"], added["logger"], added["task_name"], added["task_id"]) == ("INFO", "tasks", "tasks.add", task_id)
    assert by_message["and printing 1 2"]["level"] == "WARNING"
    ended = next(record for record in records if "succeeded in" in record["message"])
    assert (ended["data"]["id"], ended["data"]["return_value"]) == (task_id, "3")
    named = set(re.findall(r"`(\w+)`", LOGGING.partition("| key |")[2].partition("##")[0]))
    assert {"time", "level", "logger", "message", "process", "pid", "task_name", "task_id", "data"} <= named
    assert set(added) <= named


def test_given_the_page_on_logging_when_logging_is_taken_over_then_the_lines_are_the_users(tmp_path: Path) -> None:
    make_project(tmp_path, examples(LOGGING))
    with Node("own_logging", cwd=tmp_path, name="w1@h", concurrency=1) as node:
        node.wait_for_line(r"^INFO celery\.\S+ w1@h ready\.$")


def test_given_the_page_on_a_new_project_when_its_commands_are_typed_then_they_work(shell: Shell) -> None:
    """All but the worker's, which runs beside them, and the completion's, which is for an interactive shell."""
    blocks = re.findall(r"```console\n(.*?)```", START, re.DOTALL)
    commands = [command for block in blocks for command in re.findall(r"^\$ (.*)$", block, re.MULTILINE)]
    (node_command,) = (command for command in commands if " worker " in command)
    folder = shell.folder / "shop"
    bin_ = shell.folder / "bin"
    bin_.mkdir()
    for name, module in (("sedano", "-m sedano"), ("python", "")):
        (bin_ / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        (bin_ / name).chmod(0o755)
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CELERY", "SEDANO_"))}
    environment = {**clean, "PATH": f"{bin_}:{os.environ['PATH']}"}

    def type_in(command: str, where: Path) -> str:
        done = subprocess.run(
            command, shell=True, cwd=where, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    type_in(commands[0], shell.folder)
    assert commands[1] == "cd shop"
    outputs = []
    words = node_command.partition(" worker ")[2].split()
    with Node(
        "tasks", cwd=folder, name="w1@h", concurrency=1, options=[word for word in words if word.startswith("--")]
    ) as node:
        node.wait_ready()
        outputs = [type_in(command, folder) for command in commands[2:] if command != node_command and "eval" not in command]
    assert "2 passed" in outputs[0]
    assert "2 + 3 = 5" in outputs[1]
    assert "5 tasks.add" in outputs[-1]
