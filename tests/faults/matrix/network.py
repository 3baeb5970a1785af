"""The way between the nodes and the server. The client has a way of its own."""

from __future__ import annotations

import time
from functools import partial

from tests.faults.matrix.shapes import LEASE_S, Fault
from tests.faults.matrix.stage import PATIENCE_S, Stage

SERVERS = ("redis", "rabbitmq")
NOTICES_S = 18.0  # a lease within which a node notices that a connection is half open, as the default lease is


def half_open(stage: Stage) -> None:
    stage.two_nodes()
    for _ in range(stage.size.times(0.15)):
        stage.ends(50)
        stage.hit(stage.proxy.half_open())
        stage.ends(50)  # nothing ends before somebody has noticed and connected again
        stage.last_fault = time.monotonic()


def cut(stage: Stage) -> None:
    """In the middle of what either side says."""
    stage.two_nodes()
    for number in range(2 * stage.size.kills):
        stage.ends(10)
        before = stage.proxy.traffic.connections
        stage.proxy.cut_after(stage.random.randint(1, 3000), "down" if number % 2 else "up")
        stage.wait_for(partial(has_connected, stage, before), "a cut")
        stage.hit()


def has_connected(stage: Stage, before: int) -> bool:
    return stage.proxy.traffic.connections > before


def cut_off(stage: Stage) -> None:
    """One of two nodes reaches nothing for longer than its lease."""
    first = stage.node().wait_ready(PATIENCE_S)
    stage.place.node_url = stage.place.url
    stage.node(small=True).wait_ready(PATIENCE_S)
    for _ in range(stage.size.times(0.2)):
        stage.ends(50)
        stage.proxy.refuse()
        cut_now = stage.proxy.cut()
        time.sleep(2 * LEASE_S)  # the fault itself
        stage.proxy.accept()
        stage.hit(cut_now)
        stage.ends(50)
    assert first.process.poll() is None


def delay(stage: Stage) -> None:
    stage.load.most_waiting = 20  # what is sent is to be early or late by the delay, not by a queue
    stage.proxy.delay_s = 0.05
    stage.two_nodes()
    stage.proxy.reset_counts()
    stage.ends(stage.size.calls // (20 if stage.place.rabbit is not None else 2))  # a node there has one line for all slots
    stage.hit(stage.proxy.traffic.round_trips)


FAULTS = [
    Fault(
        "half-open",
        "connections hang without a word (half open); lease 18 s",
        half_open,
        SERVERS,
        setting="proxy",
        lease_s=NOTICES_S,
        heartbeat_s=4,
    ),
    Fault("cut", "connections break in the middle of a question or an answer", cut, SERVERS, setting="proxy"),
    Fault("cut-off", "a node reaches nothing for two leases", cut_off, SERVERS, setting="proxy", heartbeat_s=2),
    Fault("delay", "50 ms of delay each way", delay, SERVERS, setting="proxy", beside=True),
]
