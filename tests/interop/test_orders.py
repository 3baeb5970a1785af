"""The same order to a worker of Celery and to one of ours, side by side: what both answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.interop.peers import PATIENCE_S, Pair, Place, engine, folder_for
from tests.servers import RedisServer

from sedano import Celery

pytestmark = [pytest.mark.celery, pytest.mark.redis]

THEIRS, OURS = "w@celery", "w@sedano"

SAME: list[tuple[str, dict[str, Any]]] = [
    *(
        ("rate_limit", {"task_name": "calc.add", "rate_limit": rate})
        for rate in ("10/m", 5, 2.5, "2.5/s", "0/s", 0, "0", None, "")
    ),
    ("rate_limit", {"task_name": "nope", "rate_limit": "10/m"}),
    ("rate_limit", {"task_name": 5, "rate_limit": "10/m"}),
    ("rate_limit", {"task_name": "calc.add"}),
    ("rate_limit", {"rate_limit": "1/s"}),
    ("rate_limit", {"task_name": "calc.add", "rate_limit": 0, "more": 1}),
    ("time_limit", {"task_name": "calc.add", "hard": 100, "soft": 50}),
    ("time_limit", {"task_name": "calc.add", "hard": "10", "soft": "5"}),
    ("time_limit", {"task_name": "calc.add"}),
    ("time_limit", {"task_name": "nope", "hard": 1}),
    ("time_limit", {"hard": 1}),
    ("pool_grow", {"n": 1}),
    ("pool_shrink", {"n": 1}),
    ("pool_grow", {}),
    ("pool_shrink", {}),
    ("pool_grow", {"n": 0}),
    ("pool_restart", {}),
    ("pool_restart", {"modules": ["nope"], "reload": True}),
    ("autoscale", {"max": 3, "min": 1}),
    ("autoscale", {"max": "x"}),
    ("autoscale", {}),
    ("add_consumer", {"queue": "q1"}),
    ("add_consumer", {"queue": "q1"}),
    ("add_consumer", {"queue": "q2", "exchange": "ex", "exchange_type": "topic", "routing_key": "a.#"}),
    ("add_consumer", {"queue": "q3", "exchange_type": "fanout"}),
    ("add_consumer", {"queue": "q5", "durable": False, "queue_arguments": {"x-max-priority": 5}}),
    ("add_consumer", {}),
    ("cancel_consumer", {"queue": "q1"}),
    ("cancel_consumer", {"queue": "q1"}),
    ("cancel_consumer", {"queue": "never"}),
    ("cancel_consumer", {"queue": None}),
    ("cancel_consumer", {}),
    ("revoke", {"task_id": "id-1"}),
    ("revoke", {"task_id": ["id-2"]}),
    ("revoke", {"task_id": []}),
    ("revoke", {"task_id": None}),
    ("revoke", {"task_id": "x", "terminate": True}),
    ("terminate", {"task_id": "x", "signal": "SIGTERM"}),
    ("no_such", {}),
    ("ping", {"x": 1}),
]
"""What is answered alike, word for word, one after another."""

BOTH_REFUSE: list[tuple[str, dict[str, Any]]] = [
    *(("rate_limit", {"task_name": "calc.add", "rate_limit": rate}) for rate in ("many", "10/d", "1/2/3", [1])),
    ("rate_limit", {"task_name": ["calc.add"], "rate_limit": "10/m"}),
    *(("pool_grow", {"n": n}) for n in ("x", "1", None)),
    ("pool_shrink", {"n": "x"}),
    ("revoke", {"task_id": 5}),
]
"""Errors of both, in other words."""

WE_REFUSE: list[tuple[str, dict[str, Any]]] = [
    *(("rate_limit", {"task_name": "calc.add", "rate_limit": rate}) for rate in ("-1/s", -3, True, "1e400/s")),
    ("time_limit", {"task_name": "calc.add", "hard": "long"}),
    ("time_limit", {"task_name": "calc.add", "hard": -1}),
    ("pool_grow", {"n": -1}),
]
"""What Celery says yes to and no worker can do: docs/differences.md."""


class Both:
    """One worker of each kind on one server, and who asks them."""

    def __init__(self, version: str, place: Place) -> None:
        self.place = place
        for name, kind in ((THEIRS, f"celery{version}"), (OURS, "sedano")):
            place.worker(engine(kind), name)
        for node in place.nodes:
            node.wait_ready(PATIENCE_S)
        place.until_heard(THEIRS, OURS)
        self.app: Any = Celery("asker", broker=place.server.url_of(place.db), set_as_current=False)

    def ask(self, command: str, arguments: dict[str, Any], destination: list[str] | None = None) -> tuple[Any, Any]:
        """What Celery's worker says, and what ours does."""
        answers = self._broadcast(command, arguments, destination, 2)
        deadline = time.monotonic() + PATIENCE_S
        while "All processes busy" in str(answers[THEIRS]) and time.monotonic() < deadline:  # what was just added is not up yet
            answers |= self._broadcast(command, arguments, [THEIRS], 1)
            time.sleep(0.05)
        return answers[THEIRS], answers[OURS]

    def _broadcast(self, command: str, arguments: dict[str, Any], to: list[str] | None, limit: int) -> dict[str, Any]:
        said = self.app.control.broadcast(command, arguments, destination=to, reply=True, timeout=PATIENCE_S, limit=limit)
        return {name: answer for reply in said for name, answer in reply.items()}


@pytest.fixture(scope="module", params=["5.7", pytest.param("5.4", marks=pytest.mark.long)])
def both(
    request: pytest.FixtureRequest, interop_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    place = Place(interop_server, 14 if request.param == "5.7" else 15, folder_for("both", tmp_path_factory.mktemp("orders")))
    made = None
    try:
        made = Both(request.param, place)
        yield made
    finally:
        if made is not None:
            made.app.close()
        place.close()


def test_given_one_order_to_workers_of_both_kinds_when_they_answer_then_they_say_the_same(both: Both) -> None:
    answers = [(command, arguments, *both.ask(command, arguments, [THEIRS, OURS])) for command, arguments in SAME]
    assert [one for one in answers if one[2] != one[3]] == []


def test_given_an_order_that_cannot_be_when_workers_of_both_kinds_get_it_then_both_refuse(both: Both) -> None:
    for command, arguments in BOTH_REFUSE:
        theirs, ours = both.ask(command, arguments, [THEIRS, OURS])
        assert "error" in theirs, (command, arguments, theirs)
        assert "error" in ours, (command, arguments, ours)


def test_given_an_order_that_celery_takes_and_nobody_can_follow_when_given_then_ours_refuses(both: Both) -> None:
    for command, arguments in WE_REFUSE:
        theirs, ours = both.ask(command, arguments, [THEIRS, OURS])
        assert "ok" in theirs, (command, arguments, theirs)
        assert "error" in ours, (command, arguments, ours)
    both.ask("rate_limit", {"task_name": "calc.add", "rate_limit": 0})
    both.ask("time_limit", {"task_name": "calc.add"})


def test_given_a_rate_limit_for_everybody_when_sent_by_either_command_then_workers_of_both_kinds_have_it(both: Both) -> None:
    for kind in ("celery5.7", "sedano"):
        done = both.place.run(engine(kind), "control", "--timeout", "10", "rate_limit", "calc.add", "600/m")
        assert done.stdout.count("new rate limit set successfully") == 2, done.stdout + done.stderr
        theirs, ours = both.ask("registered", {"taskinfoitems": ["rate_limit"]})
        assert "calc.add [rate_limit=600/m]" in theirs
        assert "calc.add [rate_limit=600/m]" in ours
        both.ask("rate_limit", {"task_name": "calc.add", "rate_limit": 0})


def shape(value: Any) -> Any:
    """Its keys and the types of what they hold, all the way down."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items() if key != "total"}
    return type(value).__name__


def test_given_workers_of_both_kinds_when_asked_for_stats_then_keys_and_types_are_the_same(both: Both) -> None:
    theirs, ours = both.ask("stats", {})
    theirs, ours = shape(theirs), shape(ours)
    for key in ("hostname", "port", "uri_prefix", "credential_provider"):  # of a server on a socket; not in 5.4
        theirs["broker"].pop(key, None)
        ours["broker"].pop(key)
    assert ours == theirs


COMMANDS = [
    ("time_limit calc.mul 100 200", "time limits set successfully"),
    ("autoscale 3 1", "ValueError('Autoscale not enabled')"),
    ("pool_restart", "ValueError('Pool restarts not enabled')"),
    ("terminate SIGTERM nosuch", "terminate: tasks unknown"),
]


def order_and_compare(pair: Pair, command: str, text: str) -> None:
    done = pair.command("control", "--timeout", "60", "--destination", pair.name, *command.split())
    assert f"->  {pair.name}: {'ERROR' if 'Error' in text else 'OK'}" in done.stdout, done.stderr
    assert text in done.stdout


@pytest.mark.parametrize(("command", "text"), COMMANDS)
def test_given_our_worker_when_celerys_command_orders_something_then_its_answer_is_shown(
    from_celery: Pair, command: str, text: str
) -> None:
    order_and_compare(from_celery, command, text)


# An order and the one that undoes it, in one test: others that share the worker find it as it was.
LASTING = [
    (
        ("rate_limit calc.mul 10/s", "new rate limit set successfully"),
        ("rate_limit calc.mul 0", "new rate limit set successfully"),
    ),
    (("pool_grow 1", "pool will grow"), ("pool_shrink 1", "pool will shrink")),
    (("add_consumer more", "add consumer more"), ("cancel_consumer more", "no longer consuming from more")),
]


@pytest.mark.parametrize(("order", "undo"), LASTING)
def test_given_our_worker_when_celerys_command_changes_it_then_its_answer_is_shown(
    from_celery: Pair, order: tuple[str, str], undo: tuple[str, str]
) -> None:
    for command, text in (order, undo):
        order_and_compare(from_celery, command, text)
