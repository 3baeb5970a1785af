"""A turn whose reply is given out when the server has done its part: whoever waits hears of that, however the answer came."""

from __future__ import annotations

import time

import pytest

from sedano.contracts import Begin, Delivery, OpenOptions, TurnOrder
from sedano.drivers import rabbitmq
from sedano.drivers.rabbitmq.broker import RabbitBroker
from sedano.testing.contracts.messages import batch

pytestmark = pytest.mark.rabbitmq

PATIENCE_S = 30.0
LONG_S = 20.0


def test_given_an_answer_that_came_with_another_when_it_is_waited_for_then_that_ends_at_once(rabbit_url: str) -> None:
    node = rabbitmq.open_broker(rabbit_url, OpenOptions())
    assert isinstance(node, RabbitBroker)
    lease = node.register("slot", "celery@node")
    node.publish(batch("q", "ab"))
    taken: list[Delivery] = []
    ends_at = time.monotonic() + PATIENCE_S
    while len(taken) < 2 and time.monotonic() < ends_at:
        node.wait(["q"], 0.05)
        taken += node.turn(lease, reserve=2 - len(taken), queues=["q"]).reserved
    first, second = taken
    _, mark = node.turn_ahead(TurnOrder(lease, begin=[Begin(first.tag, early=True)]))
    assert mark
    node.turn(lease, begin=[Begin(second.tag, early=True)])  # its answer comes after the other

    assert node.reached(mark)
    began = time.monotonic()
    node.wait([], LONG_S)
    assert time.monotonic() - began < LONG_S / 2
    node.close()
