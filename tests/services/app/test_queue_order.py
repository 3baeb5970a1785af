"""The order in which a worker looks at its queues: the transport option `queue_order_strategy`."""

from __future__ import annotations

from typing import Any

import pytest
from tests.apps import MakeApp

from sedano.protocol.queues import Queue
from sedano.worker.plan import WorkerOptions, plan_node
from sedano.worker.stash import QueueOrder


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["low high", "low high", "high low"]),
        ({"queue_order_strategy": "round_robin"}, ["low high", "low high", "high low"]),
        ({"queue_order_strategy": "priority"}, ["low high", "low high", "low high"]),
        ({"queue_order_strategy": "sorted"}, ["high low", "high low", "high low"]),
    ],
)
def test_given_a_strategy_when_queues_give_something_then_they_are_looked_at_in_its_order(
    make_app: MakeApp, options: dict[str, Any], expected: list[str]
) -> None:
    app = make_app(task_queues=[Queue("low"), Queue("high")], broker_transport_options=options)
    slot = plan_node(app, WorkerOptions(pool="solo")).slot
    order = QueueOrder(slot.queues, slot.queue_order)
    seen = []
    for gave in ([], ["high"], ["low"]):
        order.gave(gave)
        seen.append(" ".join(order.names))
    assert seen == expected
