"""`--json` of every command that prints data: one document that any reader of JSON takes; and exit code 2 for wrong options."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import click
import pytest
from tests.services.cli.conftest import Shell, serving

from sedano.cli.context import CliContext
from sedano.cli.group import COMMANDS, cli

# What prints no data: programs, pages for people, scripts for a shell, files that it has written.
WITHOUT = {"worker", "beat", "events", "shell", "help", "completion", "init"}

TASKS = """
from sedano import Sedano

app = Sedano("proj")

@app.task
def add(x, y):
    return x + y

@app.task
def odd():
    return float("nan")

@app.task
def boom():
    raise ValueError("bumm, größer als möglich")
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with serving(tmp_path_factory.mktemp("json"), TASKS, "j@test") as shell:
        yield shell


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    with click.Context(group) as ctx:
        for name in COMMANDS if group is cli else group.list_commands(ctx):
            command = group.get_command(ctx, name)
            assert command is not None
            if isinstance(command, click.Group):
                yield from leaves(command, (*path, name))
            if not isinstance(command, click.Group) or command.invoke_without_command:
                yield (*path, name), command


def test_every_command_that_prints_data_takes_json():
    found = {path: {option for param in command.params for option in param.opts} for path, command in leaves(cli)}
    assert [path for path, options in found.items() if path[0] not in WITHOUT and not {"-j", "--json"} <= options] == []
    assert found.keys() >= {("queues",), ("queues", "pause"), ("dead", "list"), ("workflow", "cancel"), ("list", "bindings")}


def strict(text: str) -> Any:
    """One document, without the words that Python's reader takes and JSON does not have."""

    def refuse(word: str) -> Any:
        raise AssertionError(f"{word} is no JSON")

    assert text.count("\n") == 1
    return json.loads(text, parse_constant=refuse)


def test_given_json_then_each_command_prints_one_document(served: Shell):
    def said(*words: str, code: int = 0, **environment: str) -> Any:
        done = served(*words, "--json", **environment)
        assert done.returncode == code, (words, done.stderr)
        return strict(done.stdout)

    asked: set[tuple[str, ...]] = set()

    def say(*path: str, more: tuple[str, ...] = (), code: int = 0, **environment: str) -> Any:
        asked.add(path)
        return said(*path, *more, code=code, **environment)

    sent = say("call", more=("proj.add", "-a", "[2, 3]"))
    served("result", sent["id"], "--timeout", "60")
    assert say("result", more=(sent["id"],))["result"] == 5
    odd = say("call", more=("proj.odd",))["id"]
    served("result", odd, "--timeout", "60")
    assert say("result", more=(odd,))["result"] is None
    failed = say("call", more=("proj.boom",))["id"]
    served("result", failed, "--timeout", "60")
    for encoding in ("utf-8", "ascii"):
        assert "größer" in say("result", more=(failed,), code=1, PYTHONIOENCODING=encoding)["result"]
    letters = say("dead", "list")
    assert [letter["task"] for letter in letters] == ["proj.boom"]
    assert say("dead", "show", more=(letters[0]["id"],))["task_id"] == failed
    assert say("why", more=(failed,), code=1)["code"] == "failed"
    assert say("dead", "replay", more=("--all", "--dry-run"))["would_replay"] == 1
    assert say("dead", "drop", more=("--all", "-f"))["dropped"] == 1
    assert isinstance(say("workflow", "list"), list)
    assert say("status") == {"j@test": {"ok": "pong"}}
    assert say("inspect", more=("ping",)) == {"j@test": {"ok": "pong"}}
    assert {info["name"] for info in said("inspect", "--list")} >= {"ping", "health"}
    assert {info["name"] for info in said("control", "--list")} >= {"revoke"}
    assert say("control", more=("revoke", "x"))[0]["j@test"]["ok"]
    assert say("health", more=("-d", "j@test"))["ready"] is True
    assert say("list", "bindings")[0]["queue"] == "celery"
    assert say("queues")[0]["queue"] == "celery"
    say("queues", "pause", more=("celery",))
    say("queues", "resume", more=("celery",))
    assert say("parked") == []
    assert say("purge", more=("-f",))["purged"] == 0
    assert say("handback")["handed_back"] == 0
    assert "sedano" in say("report")["report"].lower()
    for word, empty in (("status", {}), ("inspect", {}), ("control", [])):
        asks = {"status": (), "inspect": ("ping",), "control": ("heartbeat",)}[word]
        assert said(word, *asks, "-d", "nobody@test", "-t", "0.1", code=69) == empty
    assert said("health", "-d", "nobody@test", "-t", "0.1", code=69)["ready"] is None
    others = {("workflow", "show"), ("workflow", "cancel")}  # test_workflow.py asks them, and test_schedule_command.py these
    others |= {path for path, _ in leaves(cli) if path[0] == "schedule"}
    assert asked | others == {path for path, _ in leaves(cli) if path[0] not in WITHOUT}


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ({"a": math.nan, "b": [math.inf, 1.5]}, {"a": None, "b": [None, 1.5]}),
        ({(1, 2): {3: "x"}}, {"(1, 2)": {"3": "x"}}),
        ({"half": "\ud800"}, {"half": "\ud800"}),
        ({1, 2}, "{1, 2}"),
    ],
)
def test_given_what_json_cannot_say_then_the_document_is_one_all_the_same(
    value: Any, meant: Any, capsys: pytest.CaptureFixture[str]
):
    CliContext(app_name=None, quiet=False, color=False, alias=False, debug=False).document(value)
    assert strict(capsys.readouterr().out) == meant


WRONG = """
worker --autoscale 0,0
worker -n w@%x
worker -f log.%x
worker --pidfile p.%x
worker -I nosuchmodule
worker -X celery
worker --http nowhere
worker --umask 9x
worker --uid nosuchuser
worker -P nosuchpool
worker -P nosuch:Class
worker --time-limit nan
worker --soft-time-limit inf
worker -- task_acks_late=maybe
worker -- nosuch_setting=1
-b nonsense://x queues
-b nourl worker
--result-backend nonsense://x result someid
--config nosuchmodule queues
--workdir /nonexistent queues
call proj.add --serializer nosuch
call proj.add --countdown nan
call proj.add --countdown x
call proj.add --expires 1e300
call proj.add --expires inf
result someid -t nosuchtask
result someid --timeout nan
status -t nan
status -t -1
queues -t inf
inspect nosuch
inspect memdump x
control revoke x --signal NOSUCH
control terminate NOSUCH x
control pool_grow x
workflow cancel someid --signal NOSUCH
dead list --since nan
dead replay --rate 0 --all
health -t 0
health --live
health --http nowhere
nosuch
--nosuch report
"""


@pytest.mark.parametrize("line", WRONG.strip().splitlines())
def test_given_an_option_that_cannot_be_then_the_exit_code_is_two_and_a_sentence_says_why(shell: Shell, line: str):
    done = shell(*line.split(" "), C_FORCE_ROOT="1")
    assert done.returncode == 2, done.stderr
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr
