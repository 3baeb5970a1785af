"""`sedano dead` and `sedano parked`: what an operator does with calls that did not run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.services.cli.conftest import Shell, make_project

from sedano.testing.node import Node

PROJECT = """
import os
from sedano import Sedano

app = Sedano("deploy")

@app.task
def add(x, y):
    return x + y

@app.task(bind=True)
def fickle(self, name{more}):
    if not os.path.exists("mended"):
        raise ValueError("not yet")
    return [name, self.request.id, self.request.headers["x-sedano-replay-of"]]
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = make_project(tmp_path, {"deploy.py": PROJECT.format(more="")})
    with Node("deploy", cwd=tmp_path, name="cli@test", concurrency=1) as node:
        node.wait_ready()
        yield lambda *words, **more: shell(*words, app="deploy", **more)  # type: ignore[misc]


def fail(shell: Shell, *names: str) -> list[str]:
    """Calls that failed, in this order."""
    ids = [shell("call", "deploy.fickle", "-a", json.dumps([name])).stdout.strip() for name in names]
    for task_id in ids:
        shell("result", task_id)
    return ids


def letters(shell: Shell, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shell("dead", "list", "--json", *words).stdout)
    return found


def test_a_mended_task_runs_its_dead_letters_again_under_their_ids_and_says_where_they_come_from(
    shell: Shell, tmp_path: Path
) -> None:
    ids = fail(shell, "a", "b", "c")
    numbers = {letter["task_id"]: letter["id"] for letter in letters(shell)}
    (tmp_path / "mended").touch()

    assert shell("dead", "replay", numbers[ids[0]]).stdout == "Replayed 1 dead letter.\n"
    done = json.loads(shell("dead", "replay", "--task", "deploy.fickle", "--rate", "50/s", "--json").stdout)
    assert done == {"replayed": 2, "would_replay": 0, "problems": []}
    for name, task_id in zip("abc", ids, strict=True):
        wait_until(lambda task_id=task_id: state(shell, task_id) == "SUCCESS")
        found = json.loads(shell("result", task_id, "--json").stdout)["result"]
        assert found == [name, task_id, {"dead": numbers[task_id], "id": task_id}]
    assert letters(shell) == []


def test_a_replay_with_a_new_id_is_a_call_of_its_own_and_the_letter_can_be_kept(shell: Shell, tmp_path: Path) -> None:
    (task_id,) = fail(shell, "a")
    assert shell("dead", "replay", "--all", "--new-id", "--keep").stdout == "Replayed 1 dead letter.\n"
    wait_until(lambda: len(letters(shell)) == 2)
    again, first = letters(shell)
    assert first["task_id"] == task_id
    assert again["task_id"] not in ("", task_id)
    shown = json.loads(shell("dead", "show", again["id"], "--json").stdout)
    assert shown["headers"]["x-sedano-replay-of"] == {"dead": first["id"], "id": task_id}
    assert shown["headers"]["root_id"] == again["task_id"]
    assert (shown["detail"], shown["objection"]) == ("ValueError('not yet')", "")


def test_a_dry_run_binds_the_arguments_to_the_signature_of_today_and_sends_nothing(shell: Shell, tmp_path: Path) -> None:
    fail(shell, "a", "b")
    assert shell("dead", "replay", "--all", "--dry-run").stdout == "Would replay 2 dead letters.\n"
    (tmp_path / "deploy.py").write_text(PROJECT.format(more=", size"))
    tried = shell("dead", "replay", "--all", "--dry-run", "--json")
    assert tried.returncode == 1
    document = json.loads(tried.stdout)
    assert (document["replayed"], document["would_replay"], len(document["problems"])) == (0, 0, 2)
    assert "missing 1 required positional argument: 'size'" in document["problems"][0]["problem"]
    assert len(letters(shell)) == 2


def test_letters_are_chosen_by_what_they_are_and_dropped(shell: Shell) -> None:
    fail(shell, "a", "b")
    assert len(letters(shell, "--since", "3600", "--cause", "failure", "-Q", "celery", "-t", "deploy.fickle")) == 2
    for others in (("--since", "2999-01-01"), ("--before", "3600"), ("--cause", "lost"), ("-t", "deploy.add"), ("-Q", "x")):
        assert letters(shell, *others) == []

    misspelt = shell("dead", "list", "--cause", "fail")
    assert misspelt.returncode == 2
    assert "'fail' is not one of 'failure', 'lost'" in misspelt.stderr
    assert shell("dead", "drop").returncode == 2
    assert shell("dead", "replay").returncode == 2
    assert shell("dead", "drop", "1", "--all").returncode == 2
    assert "there is no dead letter 999" in shell("dead", "drop", "-f", "999").stderr
    assert "there is no dead letter 9999" in shell("dead", "drop", "-f", "9" * 30).stderr
    assert "there is no dead letter x" in shell("dead", "show", "x").stderr
    assert shell("dead", "replay", "--all", "--rate", "fast").returncode == 2
    assert shell("dead", "drop", "--all", stdin="n\n").returncode == 1
    assert shell("dead", "drop", "--all", "--dry-run").stdout == "Would drop 2 dead letters.\n"
    first = letters(shell)[-1]["id"]
    assert shell("dead", "drop", "-f", first).stdout == "Dropped 1 dead letter.\n"
    assert shell("dead", "drop", "--yes", "--task", "deploy.fickle").stdout == "Dropped 1 dead letter.\n"
    assert letters(shell) == []
    assert re.search(r"no dead letters", shell("dead", "list").stderr)


def test_parked_calls_are_shown_by_task_and_handback_puts_them_back(shell: Shell) -> None:
    assert "nothing is parked" in shell("parked").stderr
    for number in range(2):
        shell("call", "deploy.coming", "-a", f"[{number}]")
    wait_until(lambda: [row["calls"] for row in parked(shell)] == [2])
    (row,) = parked(shell, "-Q", "celery")
    assert (row["queue"], row["task"]) == ("celery", "deploy.coming")
    assert parked(shell, "-Q", "mail") == []
    assert shell("parked").stdout.splitlines()[1].split("\t")[:3] == ["celery", "deploy.coming", "2"]
    assert shell("handback", "-Q", "celery").stdout == "Handed back 2 calls to celery.\n"


def parked(shell: Shell, *words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(shell("parked", "--json", *words).stdout)
    return found


def state(shell: Shell, task_id: str) -> str:
    return str(json.loads(shell("result", task_id, "--json").stdout)["state"])


def wait_until(claim: Any, tries: int = 100) -> None:
    """Each try runs a command, which takes its time."""
    for _ in range(tries):
        if claim():
            return
    pytest.fail("it did not come")
