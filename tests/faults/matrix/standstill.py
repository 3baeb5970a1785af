"""Nodes that sleep, clocks that jump, a worker that is alive and does not consume."""

from __future__ import annotations

import os
import signal
import time

from tests.faults.matrix.kills import slots_of
from tests.faults.matrix.shapes import LEASE_S, Fault
from tests.faults.matrix.stage import PATIENCE_S, Stage

from sedano.testing.node import Node
from sedano.testing.wallclock import WallClock

HOUR_S = 3600.0
TOO_LATE = ("its lease is gone", "taken over", "Connection to broker lost")


def times_too_late(node: Node) -> int:
    """How often it has found that its work was taken over while it slept."""
    return sum(any(words in line for words in TOO_LATE) for line in list(node.lines))


def sleep(stage: Stage) -> None:
    """Who is stopped in the middle of a step of SQLite holds the lock of the file: then nobody can take over, and that does
    not count as a hit."""
    nodes = stage.two_nodes()
    wanted = stage.size.times(0.25)
    for number in range(3 * wanted):
        stage.ends_some()
        node = nodes[number % 2]
        before = times_too_late(node)
        node.pause()
        time.sleep(2.5 * LEASE_S)  # the fault itself
        node.resume()
        stage.last_fault = time.monotonic()
        stage.ends(20)
        if times_too_late(node) > before:
            stage.hits += 1
        if stage.hits >= wanted:
            return


def clock_jumps(stage: Stage) -> None:
    """One node's clock goes an hour ahead and an hour behind while the other's is right; then both go ahead and stay there,
    because a retry that a node asked for while its clock was ahead is due by that clock."""
    clocks = [WallClock(stage.run.folder / f"clock{number}") for number in range(2)]
    for clock, small in zip(clocks, (False, True), strict=True):
        stage.environment = clock.environment()
        stage.node(small=small).wait_ready(PATIENCE_S)
    for offset_s in (HOUR_S, -HOUR_S, HOUR_S):
        stage.ends(30)
        clocks[0].set(offset_s)
        stage.hit()
        time.sleep(LEASE_S)  # whoever trusted a wall clock would take over now
    clocks[1].set(HOUR_S)
    stage.hit()


def half_alive(stage: Stage) -> None:
    """A slot stands still while it waits for work. It says nothing wrong, and the node lives."""
    first, _ = stage.two_nodes()
    stage.load.hold()
    stage.wait_for(lambda: stage.progress.ended >= len(stage.load.accepted), "an idle moment")
    time.sleep(1.5)  # all is settled: they wait for work
    os.kill(slots_of(first, stage)[0], signal.SIGSTOP)
    stage.load.go_on()
    first.wait_for_line("is alive and has not asked for work for 30 s: it is replaced", 2 * PATIENCE_S)
    stage.hit()
    stage.ends(20)


FAULTS = [
    Fault("sleep", "a node stands still past its lease (SIGSTOP) and goes on (SIGCONT)", sleep, heartbeat_s=1),
    # RabbitMQ waits for so long as it was told, and not until a time: who tells it with a wrong clock is believed.
    Fault("clock", "the wall clock of a node jumps an hour, both ways", clock_jumps, ("sqlite", "redis"), beside=True),
    Fault("half-alive", "a slot that is alive and does not ask for work", half_alive, part="slot", beside=True),
]
