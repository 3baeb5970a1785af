"""What a worker with `-E` tells of its calls is what Celery's tells: the same events with the same fields, call by call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.interop.eavesdrop import Eavesdropper, Event
from tests.interop.peers import Peer, Place, engine
from tests.servers import RedisServer, is_left_out

pytestmark = [pytest.mark.redis, pytest.mark.celery]

NODE = "w1@here"
SEND = """
for label, task, args, options in calls:
    app.send_task("lives." + task, args, task_id=label, **options)
"""
CALLS: list[tuple[str, str, list[Any], dict[str, Any]]] = [
    ("eta", "fine", [2], {"countdown": 2, "expires": 60}),
    ("expired while it waited", "fine", [2], {"countdown": 4, "expires": 3}),
    ("fine", "fine", [1], {}),
    ("kwargs", "fine", [1], {"kwargs": {"y": 2}}),
    ("long arguments", "fine", ["a" * 3000], {"kwargs": {"y": "b" * 3000}}),
    ("long result", "wide", [3000], {}),
    ("long exception", "blunder", [3000], {}),
    ("wrong", "wrong", ["bad"], {}),
    ("wrong arguments", "fine", [1, 2, 3], {}),
    ("retried", "again", [2], {}),
    ("out of retries", "again", [5], {}),
    ("retried without a reason", "again_without_reason", [], {}),
    ("retried by itself", "auto", [], {}),
    ("late", "late", [], {}),
    ("late and wrong", "late_and_wrong", [], {}),
    ("rejected", "refuse", [], {}),
    ("rejected late", "refuse_late", [], {}),
    ("put back once", "refuse_once", [], {}),
    ("hard limit", "too_long", [], {}),
    ("soft limit", "too_long_softly", [], {}),
    ("dead process", "deadly", [], {}),
    ("telling", "tells", [], {}),
    ("progress", "progress", [], {}),
    ("expired", "fine", [1], {"expires": -5}),
    ("unknown", "nobody_knows", [1], {}),
    ("shadow", "fine", [1], {"shadow": "shadowed"}),
    ("priority", "fine", [1], {"priority": 3}),
    ("without a result", "fine", [1], {"ignore_result": True}),
    *((f"limited {n}", "limited", [n], {}) for n in range(2)),
]
QUIET: list[tuple[str, str, list[Any], dict[str, Any]]] = [
    ("ignored", "ignore", [], {}),
    ("not to be told", "quiet", [], {}),
    ("replaced", "instead", [], {}),
]
"""Calls of which no end is told."""
STAMP = {"stamped_headers": ["tenant"], "stamps": {"tenant": "x"}, "tenant": "x"}

ENDED = "WorkerLostError('Worker exited prematurely: exitcode 3.')"

Life = list[str]
DIFFERENT: dict[str, tuple[Life, Life]] = {
    # A monitor learns the name of a call from `received`, whatever becomes of it then.
    "expired": (["revoked"], ["received", "revoked"]),
    "revoked before": (["revoked"], ["received", "revoked"]),
    # One end is told once.
    "hard limit": (["received", "started", "failed", "failed"], ["received", "started", "failed"]),
    "SIGUSR1": (["received", "started", "revoked", "failed"], ["received", "started", "failed"]),
}
"""Deliberate (docs/differences.md): what Celery tells, and what we do."""
SIDE_BY_SIDE = ("retried", "out of retries", "retried without a reason", "retried by itself", "telling", "put back once")
ANY = frozenset({"hostname", "pid", "clock", "timestamp", "utcoffset", "runtime", "traceback", "eta", "expires"})
"""Fields whose values differ from run to run: their types are compared."""


def tell(name: str, server: RedisServer, folder: Path) -> dict[str, list[Event]]:
    """What a worker of this engine tells of the calls, by task id. A Celery sends them."""
    place = Place(server, 0, folder)
    place.settings["INTEROP_SETTINGS"] = json.dumps({"worker_prefetch_multiplier": 8})
    try:
        with Eavesdropper(server) as heard:
            worker = place.ready(engine(name), NODE, "-E", app="lives", concurrency=4)
            peer = place.peer(engine("celery5.7"))
            peer.ask(SEND, calls=[*CALLS, *QUIET])
            heard.until_over({label for label, *_ in CALLS} | {"replaced-instead"})
            revoke_some(peer, heard)
            peer.ask(SEND, calls=[("last", "fine", [1], {})])
            heard.until_over({"last"})
            worker.stop()
            return {label: heard.life(label) for label in {event["uuid"] for event in heard.events if "uuid" in event}}
    finally:
        place.close()


def revoke_some(peer: Peer, heard: Eavesdropper) -> None:
    peer.ask(
        "app.control.revoke(['revoked before'], reply=True), app.control.revoke_by_stamped_headers({'tenant': 'x'}, reply=True)"
    )
    before = [("revoked before", "fine", [1], {}), ("revoked by a stamp", "fine", [1], {"headers": STAMP})]
    peer.ask(SEND, calls=[*before, ("revoked while it waited", "fine", [1], {"countdown": 1.5})])
    heard.until_told("task-received", "revoked while it waited")
    peer.ask("app.control.revoke('revoked while it waited', reply=True)")
    for label, task in (("SIGTERM", "slow"), ("SIGKILL", "slow"), ("SIGUSR1", "slow"), ("SIGTERM late", "slow_late")):
        peer.ask(SEND, calls=[(label, task, ["never"], {})])
        heard.until_told("task-started", label)
        peer.ask("app.control.revoke(label, terminate=True, signal=label.split()[0])", label=label)
        heard.until_told("task-failed" if label == "SIGUSR1" else "task-revoked", label)
    heard.until_over({label for label, *_ in before} | {"revoked while it waited"})


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, list[Event]], dict[str, list[Event]]]]:
    """(what Celery's worker told, what ours told)."""
    if is_left_out("redis"):
        pytest.skip("SEDANO_WITHOUT names redis")
    with RedisServer() as one, RedisServer() as other, ThreadPoolExecutor(2) as both:
        folders = [tmp_path_factory.mktemp("lives") for _ in range(2)]
        yield tuple(both.map(tell, ("celery5.7", "sedano"), (one, other), folders))  # type: ignore[misc]


def kinds(life: list[Event]) -> Life:
    return [event["type"].removeprefix("task-") for event in life]


def picture(event: Event) -> dict[str, Any]:
    return {key: type(value).__name__ if key in ANY else value for key, value in event.items()}


def test_given_calls_of_every_kind_when_they_end_then_the_same_is_told_of_them_in_the_same_order(lives: Any) -> None:
    theirs, ours = lives
    expected = {label: DIFFERENT[label][1] if label in DIFFERENT else kinds(life) for label, life in theirs.items()}
    # Celery's processes publish side by side: a retry may be received before "retried" is told.
    told = {label: sorted(life) if label in SIDE_BY_SIDE else life for label, life in expected.items()}
    assert {label: sorted(kinds(life)) if label in SIDE_BY_SIDE else kinds(life) for label, life in ours.items()} == told
    assert {label: kinds(theirs[label]) for label in DIFFERENT} == {label: told for label, (told, _) in DIFFERENT.items()}
    assert "not to be told" not in ours
    assert "not to be told" not in theirs


def test_given_a_call_that_is_retried_when_its_attempts_are_told_then_each_is_told_to_its_end_before_the_next(
    lives: Any,
) -> None:
    attempt = ["received", "started", "retried"]
    assert kinds(lives[1]["retried"]) == [*attempt, *attempt, "received", "started", "succeeded"]
    assert kinds(lives[1]["out of retries"]) == [*attempt, *attempt, *attempt, "received", "started", "failed"]


def test_given_an_event_when_it_is_compared_then_fields_types_and_values_are_celerys(lives: Any) -> None:
    theirs, ours = lives
    different = []
    for label, life in theirs.items():
        mine = [picture(event) for event in ours.get(label, [])]
        for expected in map(picture, life):
            same = next((event for event in mine if event["type"] == expected["type"]), None)
            if same is None:
                continue
            mine.remove(same)
            if expected.get("exception") == "ExceptionWithTraceback()":  # what Celery says of what a process was ended for
                assert same.pop("exception") in ("TimeLimitExceeded(1.0)", ENDED)
                del expected["exception"]
            if same != expected:
                different.append((label, same, expected))
    assert different == []


def test_given_a_traceback_when_it_is_told_then_its_last_line_is_celerys_but_for_the_module(lives: Any) -> None:
    theirs, ours = lives
    for label in ("wrong", "retried", "soft limit", "wrong arguments", "late and wrong"):
        last = [
            event["traceback"].strip().splitlines()[-1].replace("billiard", "sedano").replace("celery", "sedano")
            for told in (theirs, ours)
            for event in told[label]
            if "traceback" in event
        ]
        assert len(set(last)) == 1, last


def test_given_the_events_of_a_node_when_their_clocks_are_compared_then_they_rise(lives: Any) -> None:
    clocks = [event["clock"] for life in lives[1].values() for event in life if event["type"] != "task-checkpoint"]
    assert len(clocks) == len(set(clocks))
    for life in lives[1].values():
        told = [event["clock"] for event in life if event["type"] != "task-checkpoint"]
        assert told == sorted(told)
