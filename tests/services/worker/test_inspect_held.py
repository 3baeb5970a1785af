"""What nodes say of the calls that they hold: active, reserved, scheduled, query_task."""

from __future__ import annotations

import json
import os
import pickle
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from tests.services.worker.nodes import PATIENCE_S, NodeWorld
from tests.services.worker.test_answers import celerys

from sedano.contracts import Begin, OpenOptions
from sedano.drivers import memory
from sedano.testing.contracts.messages import message, outgoing
from sedano.worker.control.held import HeldAnswers
from sedano.worker.control.stores import ControlStores
from sedano.worker.rowview import CallNote, Phase
from sedano.worker.table import SharedTable

World = Callable[..., NodeWorld]
POOLS = ("processes", "solo", "threads", "asyncio", "gevent", "eventlet")


def inspect(world: NodeWorld, *nodes: str) -> Any:
    return world.app.control.inspect(list(nodes) or None, timeout=PATIENCE_S)


def delayed_total(world: NodeWorld) -> int:
    (depth,) = world.broker.depth(["celery"])
    return depth.delayed


# -- real nodes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", POOLS)
def test_given_a_busy_node_when_asked_then_it_tells_what_it_runs_with_celerys_keys(make_world: World, pool: str) -> None:
    world = make_world()
    node = world.ready(concurrency=1, options=["-P", pool])
    before = time.time()
    result = world.send("hold", "gate", priority=3)
    world.until_started(result)

    (call,) = inspect(world, "w1@test").active()["w1@test"]
    (safe,) = inspect(world, "w1@test").active(safe=True)["w1@test"]
    found = inspect(world, "w1@test").query_task(result.id, "unknown")["w1@test"]

    theirs = celerys("active")[0]
    assert list(call) == list(theirs)
    assert {name: type(value) for name, value in call.items()} == {name: type(value) for name, value in theirs.items()}
    assert list(call["delivery_info"]) == list(theirs["delivery_info"])
    assert (call["id"], call["name"], call["args"], call["kwargs"]) == (result.id, "tasks.hold", ["gate"], {})
    assert call["delivery_info"] == {"exchange": "", "routing_key": "celery", "priority": 3, "redelivered": False}
    assert (call["hostname"], call["acknowledged"]) == ("w1@test", True)
    assert before <= call["time_start"] <= time.time()
    assert call["worker_pid"] in node.processes()
    assert safe["args"] == "('gate',)"
    assert safe["kwargs"] == "{}"
    assert found == {result.id: ["active", {**call, "time_start": found[result.id][1]["time_start"]}]}
    world.open_gate("gate")
    assert result.get(timeout=PATIENCE_S) == "gate"
    world.until(lambda: inspect(world, "w1@test").active() == {"w1@test": []})


def test_given_late_ack_and_several_slots_when_asked_then_each_call_is_told_with_its_process(
    make_world: World, store: str
) -> None:
    world = make_world()
    node = world.ready(concurrency=3)
    results = [world.send("hold_late", "gate") for _ in range(3)]
    for result in results:
        world.until_started(result)
    calls = inspect(world).active()["w1@test"]
    assert {call["id"] for call in calls} == {result.id for result in results}
    assert {call["worker_pid"] for call in calls} == set(node.slots())
    assert not any(call["acknowledged"] for call in calls)
    (alias,) = world.app.control.broadcast("dump_active", reply=True, timeout=PATIENCE_S)
    assert {call["id"] for call in alias["w1@test"]} == {result.id for result in results}
    world.open_gate("gate")


def test_given_delayed_calls_when_two_nodes_are_asked_then_one_of_them_tells_each(make_world: World, store: str) -> None:
    world = make_world()
    world.ready("w1@test", concurrency=1)
    world.ready("w2@test", concurrency=1)
    results = [world.send("add", number, 1, countdown=3000 + 100 * number) for number in range(3)]
    world.until(lambda: delayed_total(world) == 3)

    answers = inspect(world).scheduled()
    assert set(answers) == {"w1@test", "w2@test"}
    rows = [row for some in answers.values() for row in some]
    assert [row["request"]["id"] for row in rows] == [result.id for result in results]
    theirs = celerys("scheduled")[0]
    assert list(rows[0]) == list(theirs)
    assert list(rows[0]["request"]) == list(theirs["request"])
    assert rows[0]["priority"] == theirs["priority"]
    due = datetime.fromisoformat(rows[0]["eta"])
    assert due.tzinfo is not None
    assert abs((due - datetime.now(UTC)).total_seconds() - 3000) < PATIENCE_S
    assert rows[1]["request"]["args"] == [1, 1]
    assert rows[0]["request"]["time_start"] is None
    assert rows[0]["request"]["worker_pid"] is None

    found = {id_: state for some in inspect(world).query_task(results[2].id).values() for id_, (state, _) in some.items()}
    assert found == {results[2].id: "scheduled"}


def test_given_more_delayed_calls_than_are_shown_when_asked_then_the_total_stands_in_the_last_row(world: NodeWorld) -> None:
    node = world.ready(concurrency=1)
    task = world.app.signature("tasks.add", args=(1, 1), countdown=3000)
    for _ in range(1005):
        task.apply_async()
    world.until(lambda: delayed_total(world) == 1005)
    rows = inspect(world).scheduled()["w1@test"]
    assert len(rows) == 1000
    assert rows[-1]["total"] == 1005
    assert not any("total" in row for row in rows[:-1])
    node.wait_for_line(r"1005 calls wait for their time in celery: the first 1000 of them are shown")


def test_given_connections_that_broke_while_idle_when_asked_then_the_node_answers(make_world: World) -> None:
    world = make_world()
    node = world.ready(concurrency=1)
    assert inspect(world).active() == {"w1@test": []}
    world.server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert inspect(world).active() == {"w1@test": []}
    assert node.process.poll() is None


# -- one node's answers, to the letter ----------------------------------------------------------------------------------


class Desk:
    """The answers of a node whose slot is played by the test."""

    def __init__(self, name: str = "w1@test", url: str = "", lanes: int = 0) -> None:
        self.url = url or f"memory://{uuid.uuid4().hex}"
        self.broker = memory.open_broker(self.url, OpenOptions())
        self.table = SharedTable.create(1, lanes=lanes)
        self.lease = self.broker.register(f"{name}/slot", name)
        self.row = self.table.row(0)
        self.row.pid = os.getpid()
        self.row.hold(self.lease.owner, self.lease.fence, 0.0)
        self.row.phase = Phase.BUSY
        stores = ControlStores(
            lambda: memory.open_broker(self.url, OpenOptions()),
            lambda: memory.open_coordination(self.url, OpenOptions()),
            lambda: None,
        )
        self.answers = HeldAnswers(name, self.table, stores, lambda: ["q", "q", "r"])

    def close(self) -> None:
        self.table.close()
        memory.forget_store(self.url)


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.close()


def test_given_a_window_and_a_stash_when_asked_then_reserved_is_what_does_not_run(desk: Desk) -> None:
    desk.broker.publish([outgoing("q", name) for name in ("runs", "next", "over", "stash")])
    runs, following, over, stash = desk.broker.turn(desk.lease, reserve=4, queues=["q"]).reserved
    desk.broker.turn(desk.lease, begin=[Begin(one.tag, True) for one in (over, runs, following)])
    desk.row.open_window(
        [CallNote(one.tag, "q", one.message.headers["id"], "tests.add", True) for one in (over, runs, following)]
    )  # type: ignore[union-attr]
    assert desk.row.start(0, 1.0)
    desk.row.finish(0, b"")
    assert desk.row.start(1, time.monotonic() - 5)

    assert [call["id"] for call in desk.answers.active()] == ["runs"]
    assert abs(desk.answers.active()[0]["time_start"] - (time.time() - 5)) < 1
    reserved = desk.answers.reserved()
    assert [call["id"] for call in reserved] == ["next", "stash"]
    assert list(reserved[0]) == list(celerys("reserved")[0])
    assert reserved[0]["time_start"] is None
    assert reserved[0]["args"] == [2, 3]
    states = desk.answers.query_task(["runs", "next", "stash", "over"])
    assert {id_: state for id_, (state, _) in states.items()} == {"runs": "active", "next": "reserved", "stash": "reserved"}
    assert stash.tag


def test_given_lanes_when_asked_then_the_board_tells_what_runs() -> None:
    desk = Desk(lanes=3)
    try:
        desk.broker.publish([outgoing("q", name) for name in ("a", "b", "waits")])
        a, b, _ = desk.broker.turn(desk.lease, reserve=3, queues=["q"]).reserved
        desk.broker.turn(desk.lease, begin=[Begin(a.tag, True), Begin(b.tag, False)])
        for k, (one, early) in enumerate([(a, True), (b, False)]):
            desk.table.boards[0].start(k, CallNote(one.tag, "q", "ab"[k], "tests.add", early), time.monotonic())
        assert [(call["id"], call["acknowledged"]) for call in desk.answers.active()] == [("a", True), ("b", False)]
        assert [call["id"] for call in desk.answers.reserved()] == ["waits"]
    finally:
        desk.close()


def test_given_arguments_that_only_code_can_read_when_asked_then_their_text_is_shown_and_nothing_runs(desk: Desk) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (os.mkdir, ("/nonexistent/never",))

    pickled = msgspec.structs.replace(
        message("bomb"), body=pickle.dumps(Bomb()), content_type="application/x-python-serialize", content_encoding="binary"
    )
    packed = message("packed", compression="application/x-gzip")
    large = message("large", body=json.dumps([["x" * 70_000], {}, {}]).encode())
    old = msgspec.structs.replace(pickled, headers={})
    odd = message("odd", body=b"[1]")
    desk.broker.publish(
        [msgspec.structs.replace(outgoing("q", "x"), message=one) for one in (pickled, packed, large, old, odd)]
    )
    desk.broker.turn(desk.lease, reserve=9, queues=["q"])
    shown = desk.answers.reserved()
    assert [(call["id"], call["args"], call["kwargs"]) for call in shown] == [
        (name, "(2, 3)", "{}") for name in ("bomb", "packed", "large", "odd")
    ]


def test_given_a_running_call_whose_message_is_gone_when_asked_then_what_the_slot_noted_is_told(desk: Desk) -> None:
    desk.row.open_window([CallNote("gone:1", "q", "id-1", "tests.add", False, deliveries=1)])
    assert desk.row.start(0, time.monotonic())
    (call,) = desk.answers.active()
    assert (call["id"], call["name"], call["acknowledged"], call["worker_pid"]) == ("id-1", "tests.add", False, os.getpid())
    assert call["delivery_info"]["redelivered"] is True


def test_given_two_nodes_when_one_answers_for_a_queue_then_the_other_answers_nothing(desk: Desk) -> None:
    desk.broker.publish([outgoing("q", "a", due=time.time() + 90), outgoing("r", "b", due=time.time() + 60)])
    other = Desk("w2@test", desk.url)
    assert [row["request"]["id"] for row in desk.answers.scheduled()] == ["b", "a"]
    assert other.answers.scheduled() == []
    assert other.answers.query_task("a") == {}
    assert [row["request"]["id"] for row in desk.answers.scheduled(safe=True)] == ["b", "a"]
    other.table.close()


@pytest.mark.parametrize("ids", [5, None, [], {}, "x" * 1_000_000, [None, 1.5, ["a"]], b"x"])
def test_given_ids_that_are_none_when_asked_then_nothing_is_found(desk: Desk, ids: Any) -> None:
    assert desk.answers.query_task(ids) == {}
