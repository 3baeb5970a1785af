"""The commands of one engine, asked about workers and results of the other."""

from __future__ import annotations

import json

import pytest
from tests.interop.peers import Pair

pytestmark = [pytest.mark.celery, pytest.mark.redis]


def test_given_a_worker_when_pinged_by_the_other_engine_then_it_answers(pair: Pair) -> None:
    pong = {pair.name: {"ok": "pong"}}
    assert pair.ask("app.control.ping(timeout=PATIENCE, limit=1)") == [pong]
    assert pair.ask("app.control.ping(destination=[name], timeout=PATIENCE)", name=pair.name) == [pong]
    assert pair.ask("app.control.inspect(destination=[name], timeout=PATIENCE).ping()", name=pair.name) == pong
    assert pair.ask("app.control.ping(destination=['nobody@here'], timeout=0.2)") == []


def test_given_a_worker_when_the_others_command_inspects_then_it_is_listed(pair: Pair) -> None:
    done = pair.command("inspect", "ping", "--timeout", "5")
    assert done.returncode == 0, done.stderr
    assert f"->  {pair.name}: OK" in done.stdout
    assert "1 node online." in done.stdout


def test_given_a_celery_worker_when_our_command_inspects_then_json_is_one_document(to_celery: Pair) -> None:
    done = to_celery.command("inspect", "ping", "--json", "--timeout", "60", "--destination", to_celery.name)
    assert json.loads(done.stdout) == {to_celery.name: {"ok": "pong"}}


def test_given_a_sedano_worker_when_celery_asks_for_the_status_then_it_is_online(from_celery: Pair) -> None:
    done = from_celery.command("status", "--timeout", "60", "--destination", from_celery.name)
    assert done.returncode == 0, done.stderr
    assert f"{from_celery.name}: OK" in done.stdout
    assert "1 node online." in done.stdout


ANSWERS = [
    ("control rate_limit nosuch 10/s", "ERROR", "        unknown task\n"),
    ("control time_limit calc.add 100 200", "OK", "        time limits set successfully\n"),
    ("control pool_restart", "ERROR", "        ValueError('Pool restarts not enabled')\n"),
    ("control autoscale 3 1", "ERROR", "        ValueError('Autoscale not enabled')\n"),
    ("control revoke --terminate --signal KILL nosuch", "OK", "        terminate: tasks unknown\n"),
    ("control terminate SIGTERM nosuch", "OK", "        terminate: tasks unknown\n"),
    ("control revoke_by_stamped_headers a=b", "OK", "        headers {'a': 'b'} flagged as revoked, but not terminated\n"),
    ("inspect query_task nosuch", "OK", "    {}\n\n1 node online.\n"),
    ("inspect active", "OK", "    - empty -\n\n1 node online.\n"),
    ("status", "OK", "\n1 node online.\n"),
]


def ask_and_compare(pair: Pair, command: str, how: str, text: str) -> None:
    word, *rest = command.split()
    done = pair.command(word, "--timeout", "60", "--destination", pair.name, *rest)
    assert done.stdout == f"->  {pair.name}: {how}\n{text}", done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize(("command", "how", "text"), ANSWERS)
def test_given_a_celery_worker_when_our_command_asks_then_the_text_is_that_of_celerys(
    to_celery: Pair, command: str, how: str, text: str
) -> None:
    ask_and_compare(to_celery, command, how, text)


# An order and the one that undoes it, in one test: others that share the worker find it as it was.
LASTING = [
    (
        ("control rate_limit calc.add 10/s", "new rate limit set successfully"),
        ("control rate_limit calc.add 0", "new rate limit set successfully"),
    ),
    (
        ("control add_consumer more", "add consumer more"),
        ("control cancel_consumer more", "no longer consuming from more"),
    ),
]


@pytest.mark.parametrize(("order", "undo"), LASTING)
def test_given_a_celery_worker_when_our_command_changes_it_then_the_text_is_that_of_celerys(
    to_celery: Pair, order: tuple[str, str], undo: tuple[str, str]
) -> None:
    for command, text in (order, undo):
        ask_and_compare(to_celery, command, "OK", f"        {text}\n")


def test_given_a_celery_worker_when_our_command_asks_for_stats_then_they_are_shown_as_json(to_celery: Pair) -> None:
    done = to_celery.command("inspect", "--timeout", "60", "--destination", to_celery.name, "stats")
    head, _, body = done.stdout.partition("\n")
    assert head == f"->  {to_celery.name}: OK"
    assert json.loads(body.partition("\n\n")[0])["pool"]["max-concurrency"] >= 1


def test_given_a_task_when_called_by_command_then_its_result_is_shown_by_command(pair: Pair) -> None:
    called = pair.command("call", "calc.add", "--args", "[2, 3]")
    assert called.returncode == 0, called.stderr
    task_id = called.stdout.strip()
    assert pair.ask("AsyncResult(task_id).get(timeout=PATIENCE)", task_id=task_id) == 5
    assert pair.command("result", task_id).stdout.strip() == "5"


def test_given_a_failed_task_when_its_traceback_is_asked_for_by_command_then_it_is_shown(pair: Pair) -> None:
    task_id = pair.ask("result = fail.delay('boom')\nresult.get(timeout=PATIENCE, propagate=False)\nresult.id")
    shown = pair.command("result", "--traceback", task_id)
    assert "raise ValueError(message, *more)" in shown.stdout + shown.stderr
