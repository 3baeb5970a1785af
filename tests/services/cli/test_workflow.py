"""`sedano workflow`: what an operator sees of a chain, a group and a chord, and how one is cancelled."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.apps import MakeApp, make_app

from sedano import Celery, group
from sedano.cli.context import CliContext
from sedano.cli.workflow import workflow
from sedano.testing.worker import start_worker

__all__ = ["make_app"]

Run = Callable[..., Result]


@pytest.fixture
def app(make_app: MakeApp, tmp_path: Path) -> Celery:
    app = make_app(broker=f"sqlite:///{tmp_path}/store.db", backend=f"sqlite:///{tmp_path}/store.db", timezone="UTC")

    @app.task(name="proj.add")
    def add(x: Any, y: Any = 0) -> Any:
        return x + y

    @app.task(name="proj.total")
    def total(values: Any) -> Any:
        return sum(values)

    return app


@pytest.fixture
def run(app: Celery) -> Run:
    def run(*words: str) -> Result:
        context = CliContext("proj", quiet=False, color=False, alias=False, debug=False)
        context._app = app
        return CliRunner().invoke(workflow, words, obj=context)

    return run


def start(app: Celery) -> Any:
    add, total = app.tasks["proj.add"], app.tasks["proj.total"]
    return (group(add.s(i, i) for i in range(10)) | total.s() | add.s(1)).delay()


def test_a_workflow_is_listed_shown_cancelled_and_shown_again(app: Celery, run: Run) -> None:
    result = start(app)
    listed = json.loads(run("list", "--json").stdout)
    assert [(row["id"], row["state"], row["over"], row["calls"], row["what"]) for row in listed] == [
        (result.id, "waiting", 0, 12, "chord of 10 proj.add, then chain of 2")
    ]
    shown = run("show", result.id).stdout.splitlines()
    assert shown[0].startswith(f"{result.id}: chord of 10 proj.add, then chain of 2, sent 20")
    assert shown[0].endswith("waiting, 0 of 12 calls over")
    assert any("… 7 more proj.add queued" in line for line in shown)
    assert any("1. proj.total" in line and "waits for 10 of 10 header tasks" in line for line in shown)
    assert run("show", "--all", result.id).stdout.count("queued in celery") == 10
    document = json.loads(run("show", "--json", result.parent.parent[3].id).stdout)
    assert (document["id"], document["tree"]["kind"]) == (result.id, "chord")

    said = run("cancel", result.id)

    assert said.stdout == f"{result.id}: 12 calls revoked, 0 running on to their end, 0 were over\n"
    again = json.loads(run("cancel", result.id, "--json").stdout)
    assert again["id"] == result.id
    assert again["running"] == []
    assert [row["state"] for row in json.loads(run("list", "--state", "cancelled", "-j").stdout)] == ["cancelled"]
    assert json.loads(run("list", "--state", "running", "-j").stdout) == []
    assert "there is no such workflow" in run("list", "--state", "failed").output


def test_a_workflow_that_is_done_says_when(app: Celery, run: Run) -> None:
    result = start(app)
    with start_worker(app):
        assert result.get(timeout=60) == 91
    shown = run("show", result.id).stdout
    assert "done, 12 of 12 calls over" in shown
    assert shown.count("SUCCESS") == 9
    assert run("list").stdout.splitlines()[1].split("\t")[1:4] == ["done", "12", "12"]


def test_what_is_not_known_is_an_error_that_says_what_to_do(run: Run) -> None:
    shown, cancelled, signalled = run("show", "nobody"), run("cancel", "nobody"), run("cancel", "nobody", "-s", "SIGNONE")
    assert (shown.exit_code, cancelled.exit_code, signalled.exit_code) == (1, 1, 2)
    assert "neither a workflow nor a result 'nobody'" in shown.output
    assert "revoke its calls" in cancelled.output
    assert "SIGNONE" in signalled.output
