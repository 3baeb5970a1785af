"""Calls with a delay on RabbitMQ: when a producer leaves it to the server's delay queues, as Celery 5.7 does."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.apps import MakeApp

from sedano import Context
from sedano.app.messages import draft
from sedano.app.retrying import signature_from_request
from sedano.protocol.queues import Exchange, Queue
from sedano.rules.delays import DELAY_ENTRY, LONGEST_DELAY_S

FIVE = "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.1"
QUORUM: dict[str, Any] = {
    "broker": "amqp://",
    "task_default_queue_type": "quorum",
    "task_default_exchange_type": "topic",
}


def sent(app: Any, **options: Any) -> tuple[str, str, str]:
    out = draft(app, "t", (), {}, options).outgoing()
    return out.exchange, out.exchange_type, out.routing_key


@pytest.mark.parametrize("delay", ["countdown", "eta", "text"])
def test_given_a_quorum_queue_on_a_topic_exchange_when_a_call_has_a_delay_then_the_server_keeps_it(
    make_app: MakeApp, delay: str
) -> None:
    app = make_app(**QUORUM)
    eta = app.now() + timedelta(seconds=5.9)
    options = {"countdown": {"countdown": 5}, "eta": {"eta": eta}, "text": {"eta": eta.isoformat()}}[delay]

    made = draft(app, "t", (), {}, options)

    out = made.outgoing()
    assert (out.exchange, out.exchange_type, out.routing_key, out.due) == (DELAY_ENTRY, "topic", f"{FIVE}.celery", None)
    assert out.message.headers["eta"]  # what the levels cannot hold, whole seconds that they are, the worker waits for
    assert [spec.name for spec in made.address.declare] == ["celery"]
    assert sent(app) == ("celery", "topic", "celery")


@pytest.mark.parametrize(
    ("settings", "options", "expected"),
    [
        ({**QUORUM, "task_default_exchange_type": "direct"}, {"countdown": 5}, ("", "direct", "celery")),
        ({**QUORUM, "task_default_queue_type": "classic"}, {"countdown": 5}, ("celery", "topic", "celery")),
        ({**QUORUM, "broker": "redis://localhost"}, {"countdown": 5}, ("celery", "topic", "celery")),
        (QUORUM, {"countdown": 0.9}, ("celery", "topic", "celery")),
        (QUORUM, {"countdown": -5}, ("celery", "topic", "celery")),
        (QUORUM, {"eta": "2001-01-01T00:00:00"}, ("celery", "topic", "celery")),
        (QUORUM, {"countdown": 5, "queue": "direct"}, ("", "direct", "direct")),
        (QUORUM, {"countdown": 5, "queue": "all"}, (DELAY_ENTRY, "topic", f"{FIVE}.celery")),
        (
            QUORUM,
            {"countdown": 5, "exchange": "x", "exchange_type": "topic", "routing_key": "a.b"},
            (DELAY_ENTRY, "topic", f"{FIVE}.a.b"),
        ),
        (QUORUM, {"countdown": LONGEST_DELAY_S + 99}, (DELAY_ENTRY, "topic", "1." * 28 + "celery")),
    ],
)
def test_given_a_delay_when_it_is_published_then_it_takes_the_way_that_celery_takes(
    make_app: MakeApp, settings: dict[str, Any], options: dict[str, Any], expected: tuple[str, str, str]
) -> None:
    app = make_app(**settings)
    app.amqp.queues.add(Queue("direct", Exchange("direct"), "direct"))
    app.amqp.queues.add(Queue("all", Exchange("all", "fanout")))

    assert sent(app, **options) == expected


def test_given_a_call_that_came_out_of_the_delay_queues_when_it_is_retried_then_its_delay_is_not_added_up(
    make_app: MakeApp,
) -> None:
    app = make_app(**QUORUM)

    @app.task(name="t")
    def task() -> None: ...

    for exchange in ("celery_delayed_0", "celery_delayed_delivery"):
        info = {"exchange": exchange, "routing_key": f"{FIVE}.celery", "priority": 0}
        again = signature_from_request(task, Context(id="i", task="t", delivery_info=info), (), {}, None, {"countdown": 5})

        assert sent(app, **again.options) == (DELAY_ENTRY, "topic", f"{FIVE}.celery")
        assert sent(app, **{**again.options, "countdown": None}) == ("celery_delayed_delivery", "topic", "celery")
