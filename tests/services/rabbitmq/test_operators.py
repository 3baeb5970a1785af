"""What an operator's command finds on a server that shows no list of its queues."""

from __future__ import annotations

import pytest

from sedano import Celery
from sedano.cli.brokers import broker_of
from sedano.contracts import Begin, OpenOptions
from sedano.drivers import rabbitmq
from sedano.testing.contracts.messages import dead, outgoing

pytestmark = pytest.mark.rabbitmq


def test_given_a_dead_letter_when_a_command_looks_without_naming_a_queue_then_it_is_found_and_dropped(rabbit_url: str) -> None:
    node = rabbitmq.open_broker(rabbit_url, OpenOptions())
    app = Celery("shop", broker=rabbit_url)
    queue = app.amqp.default_queue.name
    try:
        lease = node.register("slot", "node")
        node.publish([outgoing(queue, "a")])
        reserved = node.turn(lease, reserve=1, queues=[queue]).reserved
        while not reserved:
            node.wait([queue], 1.0)
            reserved = node.turn(lease, reserve=1, queues=[queue]).reserved
        (delivery,) = reserved
        node.turn(lease, begin=[Begin(delivery.tag, early=True)])
        node.turn(lease, settle=[dead(delivery, 1.0)])
    finally:
        node.close()
    with broker_of(app) as broker:
        (letter,) = broker.dead_letters()
        assert (letter.queue, letter.note.task_id) == (queue, "a")
        assert broker.drop_dead([letter.id]) == 1
        assert broker.dead_letters() == []
