"""Elections: whoever counts when, one acts."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from sedano.app.lamport import LamportClock
from sedano.worker.gossip import Gossip


class Channel:
    """Hands each event to every node in one order, as the store does; what nodes say while they hear comes after."""

    def __init__(self, clocks: Mapping[str, int]) -> None:
        self.acted: list[str] = []
        self._waiting: list[dict[str, Any]] = []
        self.nodes = {name: self._node(name, LamportClock(value)) for name, value in clocks.items()}
        for other in self.nodes:
            for node in self.nodes.values():
                node.hear({"type": "worker-online", "hostname": other, "clock": 0, "freq": 2.0})

    def _node(self, name: str, clock: LamportClock) -> Gossip:
        def emit(kind: str, fields: Mapping[str, Any]) -> None:
            self._waiting.append({**fields, "type": kind, "hostname": name, "pid": 1, "clock": clock.forward()})

        return Gossip(name, 1, clock, emit, lambda _topic, _action: self.acted.append(name), lambda do: do())

    def flow(self) -> None:
        while self._waiting:
            event = self._waiting.pop(0)
            for node in self.nodes.values():
                node.hear(event)


@pytest.mark.parametrize("late", ["a", "b", "c", "d"])
def test_given_a_node_that_hears_of_an_election_when_it_is_over_then_nobody_acts_again(late: str) -> None:
    """The one that was asleep has the lowest clock."""
    channel = Channel({name: 1 if name == late else 50 for name in "abcd"})
    for name, node in channel.nodes.items():
        if name != late:
            node.elect("who", "task", None)
    channel.flow()
    assert len(channel.acted) == 1
    channel.nodes[late].elect("who", "task", None)
    channel.flow()
    assert len(channel.acted) == 1


@pytest.mark.parametrize("count", [2, 3, 5])
def test_given_nodes_when_all_stand_then_the_one_with_the_lowest_clock_acts(count: int) -> None:
    names = [f"n{n}" for n in range(count)]
    channel = Channel({name: 100 - n for n, name in enumerate(names)})
    for node in channel.nodes.values():
        node.elect("who", "task", None)
    channel.flow()
    assert channel.acted == [names[-1]]


def test_given_an_order_that_still_waits_when_another_stands_then_it_is_acknowledged_after_the_order() -> None:
    said: list[str] = []
    waiting: list[Callable[[], None]] = []
    node = Gossip("a", 1, LamportClock(), lambda kind, _: said.append(kind), lambda _topic, _action: None, waiting.append)
    standing = {"type": "worker-elect", "id": "who", "topic": "task", "hostname": "b", "pid": 1, "clock": 1}
    node.hear(standing)
    assert said == []
    node.elect("who", "task", None)
    waiting.pop()()
    assert said == ["worker-elect", "worker-elect-ack"]
    node.hear({**standing, "hostname": "c"})
    assert (said[2:], waiting) == (["worker-elect-ack"], []), "who stands need not wait"


def test_given_a_node_that_falls_silent_when_it_is_counted_then_it_is_alive_for_two_of_its_intervals() -> None:
    node = Gossip("a", 1, LamportClock(), lambda _kind, _: None, lambda _topic, _action: None, lambda do: do())
    for name, freq in (("b", 0.01), ("c", 1000.0)):
        node.hear({"type": "worker-heartbeat", "hostname": name, "clock": 0, "freq": freq})
    deadline = time.monotonic() + 60
    while node.alive() != 1:
        assert time.monotonic() < deadline
