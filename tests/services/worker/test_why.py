"""`sedano why ID` and `app.why(id)`: each reason, with real workers and by the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.app.base import Celery
from sedano.contracts import Begin
from sedano.protocol.ids import new_id
from sedano.rules.why import Why
from sedano.testing.contracts.messages import outgoing
from sedano.worker.mailbox import NodeHands, NodeMailbox

World = Callable[..., NodeWorld]


def why(world: NodeWorld, task_id: str) -> Why:
    answer: Why = world.app.why(task_id, timeout=PATIENCE_S)
    return answer


def codes(answer: Why) -> list[str]:
    return [reason.code for reason in answer.reasons]


def typed(world: NodeWorld, *words: str, code: int) -> str:
    command = [sys.executable, "-m", "sedano", "-A", "tasks", "why", *words]
    done = subprocess.run(command, cwd=world.folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def depth(world: NodeWorld, queue: str = "celery") -> Any:
    return world.broker.depth([queue])[0]


def test_given_calls_that_are_over_when_asked_then_it_says_how_they_ended(make_world: World, store: str) -> None:
    world = make_world()
    world.ready(concurrency=1)
    good, bad = world.send("add", 1, 2), world.send("add", 1, "x")
    good.get(timeout=PATIENCE_S)
    bad.get(timeout=PATIENCE_S, propagate=False)

    text = typed(world, good.id, "-t", "30", code=0)
    assert re.fullmatch(rf"{good.id}: succeeded\n  it succeeded at \d{{4}}-\d\d-\d\dT[\d:+]+\n", text)
    failed = world.until(lambda: len(codes(why(world, bad.id))) == 2 and why(world, bad.id))
    assert codes(failed) == ["failed", "dead"]
    assert "TypeError" in failed.reasons[0].text
    assert "kept as a dead letter of celery: failure" in failed.reasons[1].text
    assert f"{bad.id} tasks.add: failed" in typed(world, bad.id, "-t", "30", code=1)


def test_given_a_running_call_and_those_behind_it_when_asked_then_it_says_who_runs_it_and_their_places(
    make_world: World, store: str
) -> None:
    world = make_world()
    node = world.ready(concurrency=1, options=["-P", "processes"])
    runs = world.send("hold", "gate")
    world.until_started(runs)
    waiting = [world.send("add", number, 1) for number in range(3)]
    world.until(lambda: depth(world).ready == 3)

    answer = why(world, runs.id)
    assert codes(answer) == ["running"]
    assert answer.task == "tasks.hold"
    assert answer.reasons[0].about["node"] == "w1@test"
    assert answer.reasons[0].about["pid"] in node.slots()
    assert re.search(r"it runs on w1@test since \S+, process \d+", answer.reasons[0].text)
    assert f"{runs.id} tasks.hold: running\n  it runs on w1@test since" in typed(world, runs.id, "-t", "30", code=0)

    places = [why(world, result.id) for result in waiting]
    assert [answer.reasons[0].text for answer in places] == [
        f"it waits in celery at place {number} of 3; 1 worker reads it" for number in (1, 2, 3)
    ]
    document = json.loads(typed(world, waiting[1].id, "--json", "-t", "30", code=0))
    assert (document["code"], document["task"]) == ("queued", "tasks.add")
    assert document["reasons"][0]["about"] == {"queue": "celery", "place": 2, "of": 3, "consumers": ["w1@test"]}

    world.app.control.revoke(runs.id)
    assert codes(why(world, runs.id)) == ["running", "revoked"]
    world.app.control.revoke_by_stamped_headers({"order": "a"})
    task = world.app.signature("tasks.add", args=(1, 1))
    task.stamp(order="a")
    stamped = task.apply_async()
    answer = why(world, stamped.id)
    assert codes(answer) == ["revoked", "queued"]
    assert answer.reasons[0].text == "it was revoked by the stamp {'order': 'a'}: it is dropped when a worker comes to it"
    world.app.control.revoke(waiting[2].id, reply=True, timeout=PATIENCE_S)
    answer = why(world, waiting[2].id)
    assert codes(answer) == ["revoked", "left"]
    typed(world, waiting[2].id, "-t", "30", code=1)
    world.open_gate("gate")


def test_given_a_paused_queue_when_asked_then_it_says_since_when_by_whom_and_why(make_world: World, store: str) -> None:
    world = make_world()
    world.ready(concurrency=1)
    world.app.control.pause_queue("celery", "the mail server is down", by="alice@web1")
    result = world.send("add", 1, 1)
    answer = why(world, result.id)
    assert codes(answer) == ["paused", "queued"]
    assert re.fullmatch(r"celery is paused since \S+ by alice@web1 \(the mail server is down\)", answer.reasons[0].text)
    assert f"{result.id} tasks.add: paused" in typed(world, result.id, "-t", "30", code=3)


def test_given_no_worker_for_the_queue_when_asked_then_it_says_so(make_world: World, store: str) -> None:
    world = make_world()
    result = world.send("add", 1, 1)
    assert codes(why(world, result.id)) == ["no-worker", "queued"]
    assert "no worker that answers reads celery\n" in typed(world, result.id, "-t", "0.2", code=3)
    world.ready(concurrency=1, options=["-Q", "other"])
    assert codes(why(world, result.id)) == ["no-worker", "queued"]


def test_given_a_node_that_is_stopped_when_asked_then_it_is_named_as_silent(make_world: World) -> None:
    world = make_world(worker_lease_time=60.0)
    node = world.ready(concurrency=1)
    runs = world.send("hold", "gate")
    world.until_started(runs)
    waits = world.send("add", 1, 1)
    node.pause()
    try:
        answer = world.app.why(runs.id, timeout=0.3)
        assert codes(answer) == ["begun", "silent"]
        assert answer.reasons[1].text.startswith("w1@test does not answer")
        answer = world.app.why(waits.id, timeout=0.3)
        assert answer.code in ("no-worker", "reserved")
        assert "w1@test" in " ".join(answer.lines())
    finally:
        node.resume()
    world.open_gate("gate")
    assert waits.get(timeout=PATIENCE_S) == 2


def test_given_delayed_and_retried_calls_when_asked_then_it_says_until_when(make_world: World, store: str) -> None:
    world = make_world()
    world.write_tasks(
        more="""
@app.task(bind=True)
def again(self):
    raise self.retry(countdown=3000, max_retries=5)
"""
    )
    world.ready(concurrency=1)
    delayed, retried = world.send("add", 1, 1, countdown=3000), world.send("again")
    never = world.send("add", 1, 1, countdown=3000, expires=60)
    world.until(lambda: depth(world).delayed == 3)
    answer = why(world, delayed.id)
    assert codes(answer) == ["delayed"]
    assert re.fullmatch(r"it is delayed until \d{4}-\S+", answer.reasons[0].text)
    answer = why(world, retried.id)
    assert codes(answer) == ["retry"]
    assert answer.reasons[0].text.startswith("it failed and is tried again: attempt 2, at 2")
    assert codes(why(world, never.id))[0] == "expires"
    assert ": delayed\n  it is delayed until" in typed(world, delayed.id, "-t", "30", code=0)
    typed(world, never.id, "-t", "30", code=3)
    world.app.control.revoke(delayed.id, pattern="nobody*", matcher="glob")
    assert codes(why(world, delayed.id)) == ["revoked", "delayed"]


def test_given_a_task_that_nobody_knows_when_asked_then_it_says_until_when_it_is_parked(make_world: World, store: str) -> None:
    world = make_world()
    world.ready(concurrency=1)
    result = world.send("nobody_knows")
    world.until(lambda: depth(world).parked == 1)
    answer = why(world, result.id)
    assert answer.code == "parked"
    assert (
        "no worker that took it knew the task tasks.nobody_knows; w1@test reads celery and does not know it."
        in answer.lines()[1]
    )
    assert "It fails at 2" in answer.lines()[1]
    typed(world, result.id, "-t", "30", code=3)


def test_given_a_task_that_no_reader_knows_when_it_waits_then_it_says_so(make_world: World, store: str) -> None:
    world = make_world()
    world.ready(concurrency=1)
    world.app.control.pause_queue("celery")  # so that it stays there
    result = world.send("nobody_knows")
    answer = why(world, result.id)
    assert codes(answer) == ["paused", "unknown-task", "queued"]
    assert answer.reasons[1].text == "none of the workers that read celery knows the task tasks.nobody_knows: w1@test"


def test_given_a_dead_letter_without_a_record_when_asked_then_it_says_why(make_world: World, store: str) -> None:
    world = make_world()
    world.write_tasks(
        more="""
@app.task(ignore_result=True)
def silent_failure():
    raise ValueError("nobody stores this")
"""
    )
    world.ready(concurrency=1)
    result = world.send("silent_failure")
    world.until(lambda: depth(world).dead == 1)
    answer = why(world, result.id)
    assert codes(answer) == ["dead"]
    assert "nobody stores this" in answer.reasons[0].text
    typed(world, result.id, "-t", "30", code=1)


def test_given_a_chain_and_a_chord_when_asked_about_later_calls_then_it_says_what_comes_before(
    make_world: World, store: str
) -> None:
    world = make_world()
    world.ready(concurrency=2)
    from sedano import chain, chord  # noqa: PLC0415

    def hold(gate: str) -> Any:
        return world.app.signature("tasks.hold", args=(gate,), immutable=True)

    last = chain(hold("a"), world.app.signature("tasks.add", args=(1, 1), immutable=True)).apply_async()
    answer = why(world, last.id)
    assert codes(answer) == ["waits"]
    assert "waits for step 1" in answer.reasons[0].text
    world.until(lambda: why(world, last.parent.id).code == "running")
    body = chord([hold("b"), hold("b")], world.app.signature("tasks.add", args=(1, 1), immutable=True)).apply_async()
    answer = why(world, body.id)
    assert answer.code == "waits"
    assert "waits for 2 of 2 header tasks" in answer.reasons[0].text
    assert ": waits\n" in typed(world, body.id, "-t", "30", code=0)
    world.open_gate("a")
    world.open_gate("b")
    assert body.get(timeout=PATIENCE_S) == 2


def test_given_an_unknown_id_when_asked_then_it_says_what_was_looked_at(make_world: World, store: str) -> None:
    world = make_world()
    world.ready(concurrency=1)
    answer = why(world, "no-such-call")
    assert codes(answer) == ["unknown"]
    assert answer.reasons[0].text.startswith("it was found nowhere. Looked at: the result store; the queues celery")
    assert "what w1@test said" in answer.reasons[0].text
    assert "no-such-call: unknown" in typed(world, "no-such-call", "-t", "30", code=4)


def test_given_a_rate_limit_when_calls_wait_for_it_then_it_says_until_when(make_world: World, store: str) -> None:
    world = make_world()
    world.write_tasks(
        more="""
@app.task(rate_limit="2/h")
def seldom():
    return 1
"""
    )
    world.ready(concurrency=1)
    results = [world.send("seldom") for _ in range(3)]
    world.until(lambda: depth(world).delayed >= 1)
    found = [why(world, result.id) for result in results]
    (held,) = [answer for answer in found if answer.code == "rate-limited"][:1]
    assert re.fullmatch(r"the rate limit of tasks.seldom, 2/h, holds it until \d{4}-\S+", held.reasons[0].text)
    typed(world, held.id, "-t", "30", code=0)


class Stage:
    """A store in this process, a lease that holds calls, and a node that says what the test wants."""

    def __init__(self) -> None:
        self.app: Any = Celery("stage", broker=f"memory://{new_id()}", set_as_current=False)
        self.broker = self.app.stores.open_broker()
        self.said: dict[str, Any] = {"active_queues": [{"name": "q"}], "registered": ["t [rate_limit=5/m]"], "query_task": {}}
        self.node = NodeMailbox(
            "w1@test",
            self.app.stores.open_bus,
            NodeHands(lambda: None),
            accept=frozenset({"application/json"}),
            answers={name: lambda name=name, **_: self.said[name] for name in (*self.said, "active")},
        )
        self.node.rounds.start()
        while not self.node.has_listened:
            time.sleep(0.001)
        self.lease = self.broker.register("w1@test/0/77/abc", "w1@test")

    def take(self, *ids: str) -> list[Any]:
        self.broker.publish([outgoing("q", id_) for id_ in ids])
        taken: list[Any] = self.broker.turn(self.lease, reserve=len(ids), queues=["q"]).reserved
        return taken

    def why(self, id_: str) -> Why:
        answer: Why = self.app.why(id_, timeout=PATIENCE_S)
        return answer

    def close(self) -> None:
        self.node.rounds.stop()
        assert self.node.rounds.join(60)
        self.broker.close()
        self.app.close()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


def test_given_a_call_in_the_hands_of_a_busy_process_when_asked_then_it_names_what_runs_before_it(stage: Stage) -> None:
    first, _ = stage.take("first", "second")
    stage.broker.turn(stage.lease, begin=[Begin(first.tag, True)])
    request = {"id": "first", "name": "t", "type": "t", "time_start": 1_800_000_000.0, "worker_pid": 77}
    stage.said["active"] = [{**request, "id": "elsewhere", "worker_pid": 78}, request]
    answer = stage.why("second")
    assert answer.lines()[1] == "  w1@test has taken it and runs t[first] before it since 2027-01-15T08:00:00+00:00"
    assert answer.reasons[0].about["behind"] == "first"
    stage.said["active"] = []
    assert stage.why("second").code == "reserved"
    stage.said["query_task"] = {"first": ["active", request]}
    assert stage.why("first").lines()[1] == "  it runs on w1@test since 2027-01-15T08:00:00+00:00, process 77"


@pytest.mark.parametrize("said", [None, 5, "x", [5], {"x": 5}, [["active"]], {"a": ["active", 5]}, {"error": "KeyError"}])
def test_given_answers_of_any_form_when_asked_then_they_say_nothing(stage: Stage, said: Any) -> None:
    stage.take("a")
    stage.said = dict.fromkeys(("active_queues", "registered", "query_task", "active"), said)
    assert stage.why("a").code == "reserved"
    stage.broker.publish([outgoing("q", "b")])
    assert stage.why("b").code == "no-worker"


def test_given_a_store_that_is_away_when_asked_then_it_is_an_error(make_world: World) -> None:
    world = make_world()
    world.server.kill()
    try:
        command = [sys.executable, "-m", "sedano", "-A", "tasks", "why", "x"]
        done = subprocess.run(command, cwd=world.folder, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode not in (0, 1, 3, 4) or "Error" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        world.server.restart()
