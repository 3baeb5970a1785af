"""A new task while old and new nodes read one queue: nothing fails, nothing is lost; what nobody comes for fails at last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.exceptions import NotRegistered
from sedano.testing.node import Node

Make = Callable[..., NodeWorld]

NEW = """
@app.task(bind=True)
def fresh(self, n):
    ledger.start(self.request.id)
    ledger.end(self.request.id)
    return n + 1
"""
CALLS = 40


def parked(world: NodeWorld) -> int:
    return sum(one.count for one in world.broker.parked(["celery"]))


def old_node(world: NodeWorld, **options: Any) -> Node:
    return world.ready("old@test", **options)


def deploy(world: NodeWorld) -> Node:
    world.write_tasks(NEW)
    return world.ready("new@test")


def ran_once(world: NodeWorld, results: list[Any]) -> bool:
    starts = world.ledger.starts()
    return all(starts[result.id] == 1 for result in results)


def test_given_only_the_old_node_when_calls_of_a_new_task_come_then_they_wait_for_the_deploy(
    world: NodeWorld, store: str
) -> None:
    old = old_node(world)
    results = [world.send("fresh", n) for n in range(CALLS)]
    world.until(lambda: parked(world) == CALLS)
    assert "Received unregistered task of type 'tasks.fresh'." in old.log()
    assert {result.state for result in results} == {"PENDING"}
    (depth,) = world.broker.depth(["celery"])
    assert (depth.ready, depth.reserved, depth.begun, depth.dead, depth.parked) == (0, 0, 0, 0, CALLS)
    assert world.get("add", 1, 2) == 3

    deploy(world)
    assert [result.get(timeout=PATIENCE_S) for result in results] == [n + 1 for n in range(CALLS)]
    assert ran_once(world, results)
    assert parked(world) == 0


def test_given_old_and_new_nodes_on_one_queue_when_calls_of_a_new_task_come_then_all_run_and_none_fails(
    world: NodeWorld, store: str
) -> None:
    old = old_node(world)
    deploy(world)
    results = [world.send("fresh", n) for n in range(CALLS)]
    assert [result.get(timeout=PATIENCE_S) for result in results] == [n + 1 for n in range(CALLS)]
    assert ran_once(world, results)
    assert world.broker.dead_letters() == []
    assert old.log().count("Received unregistered task") <= CALLS  # once for each, however often it comes


def test_given_parked_calls_when_the_node_is_killed_then_they_are_still_there_for_the_next_one(
    world: NodeWorld, store: str
) -> None:
    old = old_node(world)
    results = [world.send("fresh", n) for n in range(CALLS)]
    world.until(lambda: parked(world) == CALLS)
    old.kill()

    deploy(world)
    assert [result.get(timeout=PATIENCE_S) for result in results] == [n + 1 for n in range(CALLS)]
    assert ran_once(world, results)


@pytest.mark.setting("task_unknown_timeout")
def test_given_a_task_that_nobody_ever_knows_when_its_time_is_over_then_it_fails_and_is_kept(
    make_world: Make, store: str
) -> None:
    world = make_world(task_unknown_timeout=0.5)
    old = old_node(world)
    result = world.send("fresh", 1)
    with pytest.raises(NotRegistered):
        result.get(timeout=PATIENCE_S)
    (letter,) = world.broker.dead_letters()
    assert (letter.note.cause, letter.note.task, letter.note.task_id) == ("unknown", "tasks.fresh", result.id)
    assert parked(world) == 0
    old.wait_for_line(r"Task tasks.fresh\[.*\] was parked, and no worker came that knows it")
    assert old.log().count("Received unregistered task") == 1


@pytest.mark.setting("task_unknown_timeout")
def test_given_no_time_to_wait_when_an_unknown_task_comes_then_it_fails_at_once(make_world: Make, store: str) -> None:
    world = make_world(task_unknown_timeout=0)
    old_node(world)
    with pytest.raises(NotRegistered):
        world.get("fresh", 1)


def test_given_parked_calls_when_the_last_node_stops_then_they_are_back_in_their_queue(world: NodeWorld) -> None:
    """On Redis, where a Celery worker could find them."""
    old = old_node(world)
    result = world.send("fresh", 1)
    world.until(lambda: parked(world) == 1)
    assert old.stop() == 0
    (depth,) = world.broker.depth(["celery"])
    assert (depth.ready, depth.parked) == (1, 0)

    deploy(world)
    assert result.get(timeout=PATIENCE_S) == 2


@pytest.mark.parametrize("pool", ["threads", "asyncio"])
def test_given_a_pool_of_many_lanes_when_calls_of_a_new_task_come_then_they_are_parked_too(world: NodeWorld, pool: str) -> None:
    old_node(world, options=["-P", pool])
    results = [world.send("fresh", n) for n in range(CALLS)]
    world.until(lambda: parked(world) == CALLS)
    world.write_tasks(NEW)
    world.ready("new@test", options=["-P", pool])
    assert [result.get(timeout=PATIENCE_S) for result in results] == [n + 1 for n in range(CALLS)]
    assert ran_once(world, results)
