"""Orders to a running node that come at a bad moment, or ask for what does not work."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.protocol import control

World = Callable[..., NodeWorld]

SEVERAL = """
@app.task
def nap(seconds):
    time.sleep(seconds)
    return os.getpid()

@app.task
def meet(count, room):
    from pathlib import Path
    (Path(HERE) / f"{room}-{os.getpid()}").touch()
    until = time.monotonic() + 15.0
    while (seen := len(list(Path(HERE).glob(f"{room}-*")))) < count and time.monotonic() < until:
        time.sleep(0.01)
    return seen
"""


def ask(world: NodeWorld, command: str, **arguments: Any) -> dict[str, Any]:
    (reply,) = world.app.control.broadcast(command, arguments, reply=True, timeout=PATIENCE_S, limit=1)
    (answer,) = reply.values()
    return dict(answer)


def processes(world: NodeWorld) -> list[int]:
    (stats,) = world.app.control.inspect(timeout=PATIENCE_S, limit=1).stats().values()
    return list(stats["pool"]["processes"])


BROKEN = ["def f(:\n", "raise RuntimeError('not today')\n", "import os\nos._exit(3)\n", "raise SystemExit(5)\n"]


@pytest.mark.setting("worker_pool_restarts")
@pytest.mark.parametrize("broken", BROKEN, ids=["syntax", "raises", "dies", "exits"])
def test_given_code_that_cannot_be_loaded_when_the_pool_is_restarted_with_reload_then_it_stays_as_it_is(
    make_world: World, broken: str
) -> None:
    world = make_world(worker_pool_restarts=True)
    node = world.ready(concurrency=2)
    before = processes(world)
    (world.folder / "broken.py").write_text(broken)
    asked = time.monotonic()
    answer = ask(world, "pool_restart", modules=["broken"], reload=True)
    assert "the pool stays as it is" in answer.get("error", "") or time.monotonic() - asked > 0.5, answer
    world.until(lambda: "pool_restart: the app cannot be loaded again" in node.log())
    assert processes(world) == before
    assert world.get("pid") in before
    (world.folder / "broken.py").write_text("")
    world.until(lambda: ask(world, "pool_restart", modules=["broken"], reload=True) == {"ok": "reload started"})
    world.until(lambda: set(processes(world)).isdisjoint(before) and len(processes(world)) == 2)
    assert world.get("pid") not in before


@pytest.mark.setting("worker_pool_restarts")
def test_given_a_pool_that_is_renewed_when_other_orders_come_then_all_of_them_hold(make_world: World) -> None:
    world = make_world(worker_pool_restarts=True)
    world.write_tasks(more=SEVERAL)
    world.ready(concurrency=2)
    running = [world.send("hold", f"gate-{k}") for k in range(2)]
    for result in running:
        world.until_started(result)
    old = processes(world)
    assert ask(world, "pool_restart", reload=True) == {"ok": "reload started"}
    for _ in range(50):  # however long loading takes: the slots are told to stop then
        if "already" not in ask(world, "pool_restart", reload=True).get("error", ""):
            break
        time.sleep(0.1)
    assert ask(world, "pool_restart") == {"ok": "reload started"}
    assert ask(world, "pool_grow", n=1) == {"ok": "pool will grow"}
    world.open_gate("gate-0")
    assert running[0].get(timeout=PATIENCE_S) == "gate-0"
    world.open_gate("gate-1")
    assert running[1].get(timeout=PATIENCE_S) == "gate-1"
    world.until(lambda: len(processes(world)) == 3 and set(processes(world)).isdisjoint(old))
    results = [world.send("meet", 3, "new") for _ in range(3)]
    assert [result.get(timeout=PATIENCE_S) for result in results] == [3, 3, 3]


def test_given_slots_that_are_to_go_when_their_calls_are_long_and_the_pool_grows_again_then_it_has_its_size(
    world: NodeWorld,
) -> None:
    world.write_tasks(more=SEVERAL)
    world.ready(concurrency=3)
    running = [world.send("hold", "gate") for _ in range(3)]
    for result in running:
        world.until_started(result)
    assert ask(world, "pool_shrink", n=2) == {"ok": "pool will shrink"}
    (stats,) = world.app.control.inspect(timeout=PATIENCE_S, limit=1).stats().values()
    assert stats["pool"]["max-concurrency"] == 1
    room = 0
    while ask(world, "pool_grow", n=1) == {"ok": "pool will grow"}:
        room += 1
    assert room >= 2
    world.open_gate("gate")
    for result in running:
        result.get(timeout=PATIENCE_S)
    results = [world.send("meet", room + 1, "room") for _ in range(room + 1)]
    assert {result.get(timeout=PATIENCE_S) for result in results} == {room + 1}


def test_given_one_queue_when_it_is_cancelled_then_the_node_takes_nothing_and_goes_on(world: NodeWorld, store: str) -> None:
    world.ready(concurrency=1)
    world.get("pid")
    assert ask(world, "cancel_consumer", queue="celery") == {"ok": "no longer consuming from celery"}
    waiting = world.send("pid")
    (queues,) = world.app.control.inspect(timeout=PATIENCE_S, limit=1).active_queues().values()
    assert queues == []
    assert ask(world, "ping") == {"ok": "pong"}
    assert world.broker.depth(["celery"])[0].ready == 1
    assert ask(world, "add_consumer", queue="celery") == {"ok": "add consumer celery"}
    waiting.get(timeout=PATIENCE_S)


def test_given_an_answer_wanted_where_none_can_go_when_asked_then_the_next_one_is_answered_at_once(
    world: NodeWorld, store: str
) -> None:
    node = world.ready(concurrency=1)
    nowhere = control.ReplyTo("reply", "\udfff")
    with closing(world.app.stores.open_bus()) as bus:
        bus.broadcast(control.request("ping", ticket="t", reply_to=nowhere))
    assert ask(world, "ping") == {"ok": "pong"}
    assert "nobody expected" not in node.log()


def test_given_queues_that_cannot_be_when_they_are_added_then_each_is_refused_and_others_come_and_go(world: NodeWorld) -> None:
    world.ready(concurrency=1)
    for wrong in (
        {"queue": "a", "exchange": {}},
        {"queue": "b", "routing_key": 5},
        {"queue": "c", "queue_arguments": [1]},
        {"queue": "d", "expires": "soon"},
        {"queue": "e", "bindings": 5},
        {"queue": "f" * 2_000_000},
    ):
        assert ask(world, "add_consumer", **wrong)["error"]
    assert ask(world, "add_consumer", queue="other") == {"ok": "add consumer other"}
    world.get("pid", queue="other")
    assert ask(world, "cancel_consumer", queue="other") == {"ok": "no longer consuming from other"}
    (queues,) = world.app.control.inspect(timeout=PATIENCE_S, limit=1).active_queues().values()
    assert [queue["name"] for queue in queues] == ["celery"]


def test_given_a_queue_with_an_exchange_of_its_own_when_it_is_added_then_what_is_published_there_comes(
    world: NodeWorld, store: str
) -> None:
    world.ready(concurrency=1)
    topic = {"exchange": "news", "exchange_type": "topic", "routing_key": "sport.#"}
    assert ask(world, "add_consumer", queue="sport", queue_arguments={"x-max-priority": 5}, durable=False, **topic)["ok"]
    assert ask(world, "add_consumer", queue="everybody", exchange="all", exchange_type="fanout")["ok"]
    world.until(lambda: len(next(iter(world.app.control.inspect(timeout=PATIENCE_S, limit=1).active_queues().values()))) == 3)
    world.send("kill_self", 9)  # it holds for the slot that follows, too
    assert world.get("pid", queue="sport") > 0
    depths = {depth.queue for depth in world.broker.depth(["sport", "everybody"])}
    assert depths == {"sport", "everybody"}


def test_given_calls_that_wait_for_their_rate_when_the_node_stops_or_their_slot_dies_then_none_is_lost(
    world: NodeWorld, store: str
) -> None:
    world.write_tasks(more=SEVERAL)
    node = world.ready(concurrency=2)
    ask(world, "rate_limit", task_name="tasks.add", rate_limit="4/s")
    sent = [world.send("add", k, k) for k in range(20)]
    sent[0].get(timeout=PATIENCE_S)
    for pid in processes(world):
        os.kill(pid, 9)
    world.until(lambda: sum(result.ready() for result in sent) >= 4)
    node.signal(15)
    node.wait(30)
    world.ready("w2@test", concurrency=2)
    assert [result.get(timeout=PATIENCE_S) for result in sent] == [2 * k for k in range(20)]


def test_given_two_nodes_of_one_name_when_both_live_then_both_warn_and_nodes_of_other_names_do_not(
    world: NodeWorld, store: str
) -> None:
    nodes = [world.ready("same@test", concurrency=1), world.ready("same@test", concurrency=1)]
    other = world.ready("other@test", concurrency=1)
    for node in nodes:
        world.until(lambda node=node: "another worker has the name same@test too" in node.log(), 20.0)
    assert "another worker" not in other.log()


def test_given_a_node_that_was_killed_when_another_takes_its_name_then_nobody_warns(world: NodeWorld, store: str) -> None:
    before = world.ready("same@test", concurrency=1)
    left = set(world.leases())
    before.kill()
    after = world.ready("same@test", concurrency=1)
    assert left
    world.until(lambda: left.isdisjoint(world.leases()), 20.0)
    assert world.get("pid") > 0
    assert "another worker" not in after.log()
