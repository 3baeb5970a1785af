"""Apps of one test, each on a store of its own, and what a test asks about them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import ExitStack, closing
from itertools import count
from typing import Any

from sedano.app.base import Celery
from sedano.contracts import Broker, DeadLetter, Delivery, Fate, Outcome, Settlement
from sedano.drivers import memory
from sedano.testing.worker import start_worker

PATIENCE_S = 60.0
_numbers = count(1)


class Apps:
    """Makes apps, and ends what they opened."""

    def __init__(self) -> None:
        self._open = ExitStack()

    def make(self, **settings: Any) -> Any:
        """An app on a memory store of its own, unless the settings say otherwise. Nothing but settings is given to it."""
        number = next(_numbers)
        url = f"memory://settings-{number}"
        app = Celery(f"app{number}", set_as_current=False)
        app.conf.update({"broker_url": url, "result_backend": url, **settings})
        self._open.callback(memory.forget_store, url)
        return self.adopt(app)

    def adopt(self, app: Any) -> Any:
        """Close with the test an app that it made itself."""
        self._open.callback(app.close)
        return app

    def twin(self, app: Any, **settings: Any) -> Any:
        """Another app on the same stores: what a second program would be."""
        return self.make(broker_url=app.conf.broker_url, result_backend=app.conf.result_backend, **settings)

    def broker(self, app: Any) -> Broker:
        """A connection for looking, closed with the test."""
        broker: Broker = app.stores.open_broker()
        self._open.callback(broker.close)
        return broker

    def working(self, app: Any, **options: Any) -> Any:
        """A worker of `app` in this process, until the test ends."""
        return self._open.enter_context(start_worker(app, **options))

    def close(self) -> None:
        self._open.close()


def task(app: Any, **options: Any) -> Any:
    """`@app.task(...)`, for this app alone."""
    return app.task(shared=False, **options)


def next_delivery(app: Any, queues: Sequence[str] = ("celery",)) -> Delivery:
    """Take one message, as a worker would, and ack it."""
    found = deliveries(app, queues, 1)
    assert found, f"nothing waits in {', '.join(queues)}"
    return found[0]


def deliveries(app: Any, queues: Sequence[str] = ("celery",), most: int = 100) -> list[Delivery]:
    with closing(app.stores.open_broker()) as broker:
        lease = broker.register(f"looker-{next(_numbers)}", "test")
        found: list[Delivery] = broker.turn(lease, reserve=most, queues=queues).reserved
        done = [Settlement(delivery.tag, Outcome.IGNORED, Fate.ACK, "", 0) for delivery in found]
        broker.turn(lease, settle=done)
        broker.retire(lease)
    return found


def headers(delivery: Delivery) -> dict[str, Any]:
    assert delivery.message is not None
    return delivery.message.headers


def properties(delivery: Delivery) -> dict[str, Any]:
    assert delivery.message is not None
    return delivery.message.properties


def dead_letters(app: Any) -> list[DeadLetter]:
    with closing(app.stores.open_broker()) as broker:
        found: list[DeadLetter] = broker.dead_letters()
        return found


def record(app: Any, task_id: str) -> dict[str, Any]:
    """The stored record of a call, decoded by the app."""
    found: dict[str, Any] = app.backend.get_task_meta(task_id)
    return found


def payload(app: Any, task_id: str) -> bytes:
    """The stored record as its bytes."""
    with closing(app.stores.open_results()) as results:
        found = results.fetch([task_id])[0]
    assert found is not None, f"nothing is stored for {task_id}"
    return bytes(found)


class Gate:
    """A place in a task where it stops until the test lets it go on."""

    def __init__(self) -> None:
        self._reached, self._opened = threading.Event(), threading.Event()

    def pass_through(self) -> None:
        self._reached.set()
        assert self._opened.wait(PATIENCE_S), "the test never opened the gate"

    def wait(self) -> None:
        assert self._reached.wait(PATIENCE_S), "the task never came to the gate"

    def open(self) -> None:
        self._opened.set()
