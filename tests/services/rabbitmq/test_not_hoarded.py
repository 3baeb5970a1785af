"""What a node is pushed follows what its slots take, also when that changes from turn to turn."""

from __future__ import annotations

import time

import pytest

from sedano.contracts import Begin, Delivery, OpenOptions
from sedano.drivers import rabbitmq
from sedano.drivers.rabbitmq.broker import RabbitBroker
from sedano.testing.contracts.messages import batch, settlement

pytestmark = pytest.mark.rabbitmq

CALLS = 200
TURNS = 60
PATIENCE_S = 30.0


@pytest.mark.parametrize("early", [True, False])
def test_given_slots_that_want_more_and_less_by_turns_when_they_take_one_by_one_then_little_lies_with_the_node(
    rabbit_url: str, early: bool
) -> None:
    node = rabbitmq.open_broker(rabbit_url, OpenOptions())
    assert isinstance(node, RabbitBroker)
    slots = [node.register(name, "celery@node") for name in ("a", "b")]
    node.publish(batch("q", [f"call-{number}" for number in range(CALLS)]))
    hands: list[list[Delivery]] = [[], []]
    most, taken, ends_at = 0, 0, time.monotonic() + PATIENCE_S
    while taken < TURNS and time.monotonic() < ends_at:
        for place, lease in enumerate(slots):
            over = [settlement(delivery) for delivery in hands[place]]
            reply = node.turn(lease, settle=over, reserve=1 + (taken + place) % 3, queues=["q"])
            hands[place] = reply.reserved
            node.turn(lease, begin=[Begin(delivery.tag, early=early) for delivery in reply.reserved])
            taken += len(reply.reserved)
            (depth,) = node.depth(["q"])
            server = rabbitmq.open_broker(rabbit_url, OpenOptions())
            most = max(most, depth.ready - server.depth(["q"])[0].ready)
            server.close()
        node.wait(["q"], 0.02)
    assert taken >= TURNS
    assert most <= 32  # some turns of both; the node's own depth counts what lies with it
    node.close()
