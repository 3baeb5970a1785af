"""Where an app's calls arrive on a RabbitMQ: exchanges of every kind, bindings, broadcasts, delays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from sedano import Celery
from sedano.contracts import Broker
from sedano.protocol.queues import Broadcast, Exchange, Queue, binding

pytestmark = pytest.mark.rabbitmq
PATIENCE_S = 30.0


def app_on(url: str, *queues: Queue, **settings: Any) -> Celery:
    app = Celery("routing", broker=url, set_as_current=False)
    app.conf.update(task_queues=list(queues) or None, **settings)
    return app


class Consumer:
    """Takes what arrives in all queues of `app`."""

    def __init__(self, app: Celery) -> None:
        self.broker: Broker = app.stores.open_broker()
        self.queues = tuple(app.amqp.queues.consume_from)
        self.broker.declare(app.amqp.queues.specs())
        self.lease = self.broker.register("consumer", "node")

    def arrived(self, count: int) -> dict[str, list[str]]:
        """{queue: tasks} of the first `count` messages."""
        found: dict[str, list[str]] = {}
        until = time.monotonic() + PATIENCE_S
        while sum(map(len, found.values())) < count:
            assert time.monotonic() < until, found
            for delivery in self.broker.turn(self.lease, reserve=10, queues=self.queues).reserved:
                assert delivery.message is not None
                found.setdefault(delivery.queue, []).append(str(delivery.message.headers["task"]))
            self.broker.wait(self.queues, 0.2)
        return {queue: sorted(tasks) for queue, tasks in found.items()}


@pytest.fixture
def apps(rabbit_url: str) -> Iterator[Any]:
    made: list[Celery] = []

    def make(*queues: Queue, **settings: Any) -> Celery:
        made.append(app_on(rabbit_url, *queues, **settings))
        return made[-1]

    yield make
    for app in made:
        app.close()


def test_given_topic_direct_and_fanout_exchanges_when_calls_are_sent_then_bindings_lead_them(apps: Any) -> None:
    topic, direct, fanout = Exchange("t", "topic"), Exchange("d"), Exchange("f", "fanout")
    queues = [
        Queue("eu", [binding(topic, "eu.#"), binding(direct, "europe")]),
        Queue("all", topic, "#"),
        Queue("one", fanout),
        Queue("two", fanout),
    ]
    routes = {"routed": {"exchange": "t", "exchange_type": "topic", "routing_key": "eu.paris"}}
    app = apps(*queues, task_default_queue="all", task_routes=routes)
    with closing(Consumer(app).broker):
        pass
    consumer = Consumer(app)
    app.send_task("routed")
    app.send_task("us", exchange="t", exchange_type="topic", routing_key="us.ny")
    app.send_task("europe", exchange="d", routing_key="europe")
    app.send_task("everybody", exchange="f", exchange_type="fanout", routing_key="x")
    app.send_task("by-queue", queue="two")

    assert consumer.arrived(8) == {
        "eu": ["europe", "routed"],
        "all": ["routed", "us"],
        "one": ["by-queue", "everybody"],
        "two": ["by-queue", "everybody"],
    }
    consumer.broker.close()


def test_given_an_alternate_exchange_when_no_binding_matches_then_the_call_arrives_there(apps: Any) -> None:
    lost = Queue("lost", Exchange("lost", "fanout"))
    main = Queue("main", Exchange("main", "topic", arguments={"alternate-exchange": "lost"}), "known.#")
    app = apps(lost, main, task_default_queue="main")
    consumer = Consumer(app)
    app.send_task("known", exchange="main", exchange_type="topic", routing_key="known.x")
    app.send_task("strange", exchange="main", exchange_type="topic", routing_key="strange")

    assert consumer.arrived(2) == {"main": ["known"], "lost": ["strange"]}
    consumer.broker.close()


def test_given_broadcast_queues_of_two_nodes_when_a_call_is_sent_then_both_get_it_and_the_producer_has_none(apps: Any) -> None:
    nodes = [apps(Broadcast("news"), task_default_queue="") for _ in range(2)]
    producer = apps(Broadcast("news"), task_default_queue="")
    producer.send_task("to-nobody", queue="news")
    consumers = [Consumer(node) for node in nodes]
    producer.send_task("to-all", queue="news")

    for node, consumer in zip(nodes, consumers, strict=True):
        assert consumer.arrived(1) == {node.amqp.queues["news"].name: ["to-all"]}
    with closing(producer.stores.open_broker()) as broker:
        (depth,) = broker.depth([producer.amqp.queues["news"].name])
        assert depth.ready == 0
    for consumer in consumers:
        consumer.broker.close()


def test_given_a_quorum_queue_when_a_call_has_a_countdown_then_the_server_keeps_it_until_then(apps: Any) -> None:
    app = apps(task_default_queue_type="quorum", task_default_exchange_type="topic")
    consumer = Consumer(app)
    began = time.monotonic()
    app.send_task("later", countdown=1.0)
    app.send_task("now")

    assert consumer.arrived(2) == {"celery": ["later", "now"]}
    assert time.monotonic() - began >= 1.0
    consumer.broker.close()


def test_given_a_queue_that_goes_with_its_consumer_when_the_appetite_changes_then_it_stays(apps: Any) -> None:
    app = apps(Broadcast("news"), task_default_queue="")
    consumer = Consumer(app)
    for wanted in (1, 50, 0, 200, 1):
        consumer.broker.turn(consumer.lease, reserve=wanted, queues=consumer.queues)
    app.send_task("to-all", queue="news")
    assert consumer.arrived(1) == {consumer.queues[0]: ["to-all"]}

    consumer.broker.turn(consumer.lease, reserve=1, queues=["another"])
    consumer.broker.turn(consumer.lease, reserve=1, queues=consumer.queues)
    app.send_task("again", queue="news")
    assert consumer.arrived(1) == {consumer.queues[0]: ["again"]}
    consumer.broker.close()
