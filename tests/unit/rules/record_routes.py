"""Records what a real Celery does with `routing_cases.py`: run with the interpreter of an environment that has Celery.

    python tests/unit/rules/record_routes.py > tests/unit/rules/recorded_routes.json

For each case: what `app.amqp.router.route` returns, and where the message is published then, or the error.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import celery
from celery import Celery
from kombu import Exchange, Queue
from routing_cases import cases


class CapturingProducer:
    """Stands where Celery publishes and keeps what it is told."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}

    def publish(self, body: Any, **told: Any) -> None:
        self.told = told


def queue_facts(queue: Any) -> Any:
    if queue is None or isinstance(queue, str):
        return queue
    return {
        "name": queue.name,
        "exchange": queue.exchange.name,
        "exchange_type": queue.exchange.type,
        "routing_key": queue.routing_key,
        "queue_arguments": queue.queue_arguments or None,
    }


def named(value: Any) -> Any:
    return value.name if isinstance(value, Exchange) else value


def run(case: dict[str, Any]) -> dict[str, Any]:
    app = Celery("recording", broker="memory://", set_as_current=False)
    app.conf.update(case["conf"])
    try:
        options = app.amqp.router.route(dict(case["options"]), case["task"], case["args"], case["kwargs"])
    except Exception as exc:
        return {"error": type(exc).__name__}
    producer = CapturingProducer()
    message = app.amqp.create_task_message("an-id", case["task"], case["args"], case["kwargs"])
    sent = dict(options)
    sent.pop("expires", None)
    app.amqp.send_task_message(producer, case["task"], message, **sent)
    told = producer.told
    facts = {key: named(value) for key, value in options.items() if key != "queue"}
    return {
        "queue": queue_facts(options.get("queue")),
        "options": dict(sorted(facts.items())),
        "published": {
            "exchange": named(told["exchange"]),
            "routing_key": told["routing_key"],
            "delivery_mode": told["delivery_mode"],
            "declare": [queue.name for queue in told["declare"] or ()],
        },
    }


lines = [f" {json.dumps(name)}: {json.dumps(run(case))}" for name, case in cases(Queue, Exchange).items()]
sys.stdout.write(f'{{"celery": "{celery.__version__}", "cases": {{\n' + ",\n".join(lines) + "\n}}\n")
