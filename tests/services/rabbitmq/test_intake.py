"""What comes from the consumers of a node: their limits change all day long."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping

import pytest

from sedano.contracts import OpenOptions, QueueSpec
from sedano.drivers import rabbitmq
from sedano.drivers.rabbitmq.address import address_of
from sedano.drivers.rabbitmq.connection import Connection
from sedano.drivers.rabbitmq.consuming import Intake
from sedano.testing.contracts.messages import batch

pytestmark = pytest.mark.rabbitmq

WAIT_S = 30.0


def test_given_consumers_that_come_and_go_when_it_goes_on_so_then_nothing_of_them_is_kept(rabbit_url: str) -> None:
    broker = rabbitmq.open_broker(rabbit_url, OpenOptions())
    broker.declare([QueueSpec("q"), QueueSpec("r")])
    connection = Connection(address_of(rabbit_url, {}, OpenOptions()))
    connection.open()
    intake = Intake(connection, 1, QueueSpec, lambda _queue: None)

    def come_and_go(times: int) -> int:
        for _ in range(times):
            intake.ask(["q", "r"], 5, lambda _queue: 0)
            intake.ask(["q"], 0, lambda _queue: 0)
        intake.probe(WAIT_S)
        return sum(len(value) for value in vars(intake).values() if isinstance(value, Collection | Mapping))

    assert come_and_go(1) == come_and_go(100)
    broker.publish([*batch("q", "a"), *batch("r", "b")])
    intake.ask(["q", "r"], 5, lambda _queue: 0)
    until = time.monotonic() + WAIT_S
    while not (intake.ready("q") and intake.ready("r")) and time.monotonic() < until:
        connection.pump(0.2)
    assert [item.queue for item in intake.take(["q", "r"], 5)[0]] == ["q", "r"]
    connection.close()
    broker.close()
