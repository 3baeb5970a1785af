"""A node's broker object on RabbitMQ with one slot of it, as tests use both."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest

from sedano.contracts import Begin, Broker, Delivery, Lease, OpenOptions, Settlement
from sedano.drivers import rabbitmq
from sedano.drivers.rabbitmq.broker import RabbitBroker
from sedano.exceptions import BrokerUnavailable

WAIT_S = 30.0
OPTIONS = OpenOptions()


@dataclass
class Node:
    """A broker object and one slot of it."""

    broker: RabbitBroker
    lease: Lease

    def look(self, *queues: str, most: int = 10) -> list[Delivery]:
        return self.broker.turn(self.lease, reserve=most, queues=queues or ("q",)).reserved

    def take(self, count: int, *queues: str) -> list[Delivery]:
        """The next so many."""
        found: list[Delivery] = []
        until = time.monotonic() + WAIT_S
        while len(found) < count:
            assert time.monotonic() < until, f"only {len(found)} of {count} came"
            found += self.look(*queues, most=count - len(found))
            if len(found) < count:
                self.broker.wait(queues or ("q",), 1.0)
        return found

    def begin(self, *deliveries: Delivery, early: bool = False) -> list[str]:
        return self.broker.turn(self.lease, begin=[Begin(each.tag, early) for each in deliveries]).begun

    def settle(self, *settlements: Settlement) -> list[str]:
        """Those that were refused."""
        return self.broker.turn(self.lease, settle=settlements).refused

    def hear_of_trouble(self) -> None:
        """Sleep until the connection is gone, and make a new one."""
        with pytest.raises(BrokerUnavailable):
            self._sleep()
        self.broker.reconnect()

    def _sleep(self) -> None:
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            self.broker.wait(["q"], 1.0)


def node_at(url: str, brokers: list[Broker], name: str, options: OpenOptions = OPTIONS) -> Node:
    """To be closed with the other `brokers`."""
    broker = rabbitmq.open_broker(url, options)
    assert isinstance(broker, RabbitBroker)
    brokers.append(broker)
    return Node(broker, broker.register(name, f"celery@{name}"))
