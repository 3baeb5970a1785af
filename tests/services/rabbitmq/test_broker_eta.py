"""Calls that are not due: begun by nobody before they are, and never only in a process's memory."""

from __future__ import annotations

import time
from collections.abc import Generator

import pytest

from sedano.contracts import Begin, BeginRule, Broker, Delay, Delivery, Lease, OpenOptions, Standing
from sedano.drivers import rabbitmq
from sedano.testing.contracts.messages import batch, task_ids

pytestmark = pytest.mark.rabbitmq

WAIT_S = 20.0


@pytest.fixture
def broker(rabbit_url: str) -> Generator[Broker]:
    broker = rabbitmq.open_broker(rabbit_url, OpenOptions())
    yield broker
    broker.close()


def take(broker: Broker, lease: Lease, rule: BeginRule | None = None) -> Delivery:
    """The next call of "q"."""
    until = time.monotonic() + WAIT_S
    while time.monotonic() < until:
        reply = broker.turn(lease, reserve=1, queues=["q"], begin_new=rule)
        if reply.reserved:
            return reply.reserved[0]
        broker.wait(["q"], 1.0)
    raise AssertionError("nothing came")


def test_given_a_call_with_an_eta_when_a_rule_would_begin_it_then_it_stays_reserved(broker: Broker) -> None:
    lease = broker.register("slot", "celery@test")
    broker.publish(batch("q", "a", eta="2099-01-01T00:00:00+00:00"))
    assert take(broker, lease, BeginRule(early=True)).standing is Standing.RESERVED
    broker.publish(batch("q", "b"))
    assert take(broker, lease, BeginRule(early=True)).standing is Standing.BEGUN_EARLY


@pytest.mark.parametrize("left_s", [0.3, 1.2])
@pytest.mark.parametrize("early", [None, True, False], ids=["reserved", "early", "late"])
def test_given_a_call_that_is_not_due_when_delayed_then_it_comes_back_soon_after_it_is(
    broker: Broker, left_s: float, early: bool | None
) -> None:
    lease = broker.register("slot", "celery@test")
    broker.publish(batch("q", "a"))
    delivery = take(broker, lease)
    if early is not None:
        broker.turn(lease, begin=[Begin(delivery.tag, early)])
    due = time.time() + left_s
    assert broker.turn(lease, delay=[Delay(delivery.tag, due)]).refused == []
    again = take(broker, lease)
    while (now := time.time()) < due:  # the server keeps whole seconds: the rest is waited for in our hands
        broker.turn(lease, delay=[Delay(again.tag, due)])
        again = take(broker, lease)
    assert task_ids([again]) == ["a"]
    assert again.deliveries == 0
    assert now - due < 5.0  # a busy machine; by itself it is a few milliseconds, or a second for what was begun early
