"""What a broker declares of a queue."""

from __future__ import annotations

import pytest
from tests.apps import MakeApp

from sedano.app.amqp import specs_of
from sedano.contracts import QueueSpec
from sedano.protocol.queues import Exchange, Queue, binding


def test_given_a_queue_with_everything_when_it_is_declared_then_the_broker_is_told_everything() -> None:
    exchange = Exchange(
        "orders",
        "topic",
        durable=False,
        auto_delete=True,
        passive=True,
        no_declare=True,
        arguments={"alternate-exchange": "lost"},
    )
    queue = Queue(
        "orders.eu",
        exchange,
        "eu.#",
        durable=False,
        exclusive=True,
        no_ack=True,
        no_declare=True,
        queue_arguments={"x-queue-mode": "lazy", "x-max-priority": 3},
        binding_arguments={"x-match": "all"},
        consumer_arguments={"x-priority": 5},
        expires=1.5,
        message_ttl=60,
        max_length=10,
        max_length_bytes=2048,
        max_priority=9,
    )

    assert list(specs_of(queue)) == [
        QueueSpec(
            "orders.eu",
            "orders",
            "topic",
            "eu.#",
            durable=False,
            auto_delete=True,
            arguments={
                "x-queue-mode": "lazy",
                "x-max-priority": 9,
                "x-expires": 1500,
                "x-message-ttl": 60_000,
                "x-max-length": 10,
                "x-max-length-bytes": 2048,
            },
            exclusive=True,
            no_declare=True,
            no_ack=True,
            exchange_durable=False,
            exchange_auto_delete=True,
            exchange_passive=True,
            exchange_no_declare=True,
            exchange_arguments={"alternate-exchange": "lost"},
            binding_arguments={"x-match": "all"},
            consumer_arguments={"x-priority": 5},
        )
    ]


def test_given_several_bindings_when_the_queue_is_declared_then_each_has_its_own_exchange_and_arguments() -> None:
    ours, theirs = Exchange("ours", "topic"), Exchange("theirs", "headers", durable=False)
    queue = Queue("q", [binding(ours, "a.*"), binding(theirs, arguments={"x-match": "any"})], binding_arguments={"not": "used"})

    specs = sorted(specs_of(queue), key=lambda spec: spec.exchange)

    assert specs == [
        QueueSpec("q", "ours", "topic", "a.*"),
        QueueSpec("q", "theirs", "headers", "", exchange_durable=False, binding_arguments={"x-match": "any"}),
    ]


def test_given_a_plain_queue_when_it_is_declared_then_it_is_as_celery_declares_it() -> None:
    assert list(specs_of(Queue("q", Exchange("q"), "q"))) == [QueueSpec("q", "q", "direct", "q")]
    assert list(specs_of(Queue("q"))) == [QueueSpec("q")]


@pytest.mark.setting("task_default_queue_type", "task_create_missing_queue_type", "task_queue_max_priority")
def test_given_settings_of_queues_then_they_are_declared_so(make_app: MakeApp) -> None:
    app = make_app(task_default_queue_type="quorum", task_create_missing_queue_type="quorum", task_queue_max_priority=9)

    wanted = {"x-queue-type": "quorum", "x-max-priority": 9}
    assert [spec.arguments for spec in specs_of(app.amqp.default_queue)] == [wanted]
    assert [spec.arguments for spec in specs_of(app.amqp.queues["made-up"])] == [wanted]
    assert app.amqp.address({"queue": "other"}, "t", (), {}, None)[1].declare[0].arguments == wanted
