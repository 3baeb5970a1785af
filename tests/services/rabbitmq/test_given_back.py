"""What a node gives back before it was begun was not lost by anybody, whatever the server calls it."""

from __future__ import annotations

import time

import pytest

from sedano.contracts import OpenOptions
from sedano.drivers import rabbitmq
from sedano.testing.contracts.messages import batch, task_ids

pytestmark = pytest.mark.rabbitmq


def test_given_a_message_that_a_node_gave_back_unbegun_when_it_comes_again_then_it_is_not_called_redelivered(
    rabbit_url: str,
) -> None:
    node = rabbitmq.open_broker(rabbit_url, OpenOptions())
    first = node.register("first", "celery@node")
    node.publish(batch("q", "abc"))
    taken = []
    ends_at = time.monotonic() + 30.0
    while not taken and time.monotonic() < ends_at:
        node.wait(["q"], 0.05)
        taken = node.turn(first, reserve=1, queues=["q"]).reserved
    node.wait(["q"], 0.2)  # the rest is pushed, too
    node.retire(first)  # nobody takes anything: what was pushed goes back
    second = node.register("second", "celery@node")
    again = []
    while len(again) < 3 and time.monotonic() < ends_at:
        again += node.turn(second, reserve=3, queues=["q"]).reserved
        node.wait(["q"], 0.05)
    assert sorted(task_ids(again)) == ["a", "b", "c"]  # what was on its way here may stand before what came back
    assert [each.redelivered for each in again] == [False] * 3
    node.close()
