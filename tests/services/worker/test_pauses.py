"""Pause and resume of a queue on a cluster: a node of processes and one of threads, killed and started again meanwhile."""

from __future__ import annotations

import time
from typing import Any

from tests.services.worker.nodes import PATIENCE_S, NodeWorld

from sedano.contracts import Depth

CALLS = 30
PROMPT_S = 4.0  # less than the 5 s after which an idle slot looks by itself


def mail(world: NodeWorld) -> Depth:
    (depth,) = world.broker.depth(["mail"])
    return depth


def nodes(world: NodeWorld) -> tuple[Any, Any]:
    options = ["-Q", "celery,mail"]
    first = world.node("w1@test", options=options)
    second = world.node("w2@test", options=[*options, "-P", "threads"])
    return first.wait_ready(), second.wait_ready()


def everybody_has_turned(world: NodeWorld) -> None:
    """Calls of another queue are run by slots of both nodes."""
    for _ in range(3):
        results = [world.send("add", n, 1) for n in range(40)]
        assert [result.get(timeout=PATIENCE_S) for result in results] == [n + 1 for n in range(40)]


def test_given_two_nodes_when_a_queue_is_paused_then_what_runs_ends_and_the_rest_waits_until_it_is_resumed(
    world: NodeWorld, store: str
) -> None:
    first, second = nodes(world)
    held = world.send("hold", "gate", queue="mail")
    world.until_started(held)
    world.app.control.pause_queue("mail", "the mail server is down", by="alice@test")
    waiting = [world.send("add", n, 1, queue="mail") for n in range(CALLS)]
    delayed = world.send("add", 100, 1, queue="mail", countdown=0.2)
    everybody_has_turned(world)
    assert (mail(world).ready, mail(world).reserved, mail(world).begun) == (CALLS + 1, 0, 1)
    for node in (first, second):
        node.wait_for_line(r"queue mail is paused since \S+ by alice@test \(the mail server is down\)")
    world.open_gate("gate")
    assert held.get(timeout=PATIENCE_S) == "gate"

    first.kill()
    second.stop()
    again = world.ready("w3@test", options=["-Q", "celery,mail"])
    again.wait_for_line(r"queue mail is paused since .* `sedano queues resume mail`")
    everybody_has_turned(world)
    assert (mail(world).ready + mail(world).delayed, mail(world).paused) == (CALLS + 1, True)

    (answer,) = world.app.control.broadcast("active_queues", reply=True, timeout=PATIENCE_S, limit=1)
    assert {queue["name"]: queue["paused"] for queue in answer["w3@test"]} == {"celery": False, "mail": True}
    (state,) = world.app.control.queues(["mail"], timeout=PATIENCE_S)
    assert state.consumers == ["w3@test"]
    assert (state.paused.reason, state.paused.by) == ("the mail server is down", "alice@test")

    assert world.app.control.resume_queue("mail")
    assert [result.get(timeout=PATIENCE_S) for result in waiting] == [n + 1 for n in range(CALLS)]
    assert delayed.get(timeout=PATIENCE_S) == 101
    again.wait_for_line("queue mail is not paused any more")


def test_given_idle_nodes_when_a_queue_is_resumed_then_they_begin_at_once(world: NodeWorld, store: str) -> None:
    nodes(world)
    took: list[float] = []
    while not took or min(took) > PROMPT_S:
        assert len(took) < 5, took
        world.app.control.pause_queue("mail")
        result = world.send("add", 1, 1, queue="mail")
        everybody_has_turned(world)
        began = time.monotonic()
        world.app.control.resume_queue("mail")
        result.get(timeout=PATIENCE_S)
        took.append(time.monotonic() - began)
