"""Calls that a node took and no slot ran: given back, and not taken for lost ones."""

from __future__ import annotations

import time

import pytest

from sedano.contracts import BeginRule, Broker, Lease, OpenOptions, Standing, TurnReply
from sedano.drivers import rabbitmq
from sedano.testing.contracts.messages import batch, task_ids

pytestmark = pytest.mark.rabbitmq

WAIT_S = 30.0


def turn(broker: Broker, lease: Lease, rule: BeginRule, reserve: int) -> TurnReply:
    """A turn that has brought something."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        reply = broker.turn(lease, reserve=reserve, queues=["q"], begin_new=rule)
        if reply.reserved:
            return reply
        broker.wait(["q"], 0.2)
    raise AssertionError("nothing came")


@pytest.mark.parametrize("early", [True, False], ids=["early", "late"])
def test_given_calls_that_lie_behind_a_long_one_when_they_are_given_back_again_and_again_then_none_is_counted(
    rabbit_url: str, early: bool
) -> None:
    rule = BeginRule(early, costs={"tests.add": 10}, budget_us=100_000, most=8)
    filler = rabbitmq.open_broker(rabbit_url, OpenOptions())
    filler.publish(batch("q", [f"call-{number}" for number in range(40)]))
    for _ in range(4):
        node = rabbitmq.open_broker(rabbit_url, OpenOptions())
        lease = node.register("slot", "celery@test")
        reply = turn(node, lease, rule, 2)
        node.release(lease, None)
        node.unbegin(lease, None)
        assert reply.reserved
        node.wait([], 0.5)  # nobody asks: what lies in the node goes back
        node.retire(lease)
        node.close()
    node = rabbitmq.open_broker(rabbit_url, OpenOptions())
    lease = node.register("slot", "celery@test")
    seen: dict[str, int] = {}
    until = time.monotonic() + WAIT_S
    while len(seen) < 40 and time.monotonic() < until:
        reply = node.turn(lease, reserve=8, queues=["q"], begin_new=rule)
        for delivery in reply.reserved:
            if delivery.standing is not Standing.RESERVED:
                seen[task_ids([delivery])[0]] = delivery.deliveries
        if not reply.reserved:
            node.wait(["q"], 0.2)
        node.release(lease, None)
    node.close()
    filler.close()
    assert len(seen) == 40
    assert set(seen.values()) == {0}
