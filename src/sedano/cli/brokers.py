"""The broker of the app, for commands that look into it."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence

from sedano.app.base import Celery
from sedano.contracts import Broker


@contextlib.contextmanager
def broker_of(app: Celery) -> Generator[Broker]:
    """A connection to the app's broker, closed afterwards."""
    broker = app.stores.open_broker()
    try:
        if broker.capabilities.pushes:  # it lists no queues, but those it was asked about
            broker.depth(list(app.amqp.queues))
        yield broker
    finally:
        broker.close()


def chosen_queues(app: Celery, queues: Sequence[str] | None, exclude: Sequence[str] | None) -> list[str]:
    """The queues that the options `-Q` and `-X` name; without `-Q` all that the app declares."""
    names = list(queues) if queues else list(app.amqp.queues)
    return [name for name in names if name not in set(exclude or ())]


def known_queues(app: Celery, broker: Broker) -> list[str]:
    """The queues that the app declares and those that the store knows."""
    return sorted({*app.amqp.queues, *broker.queues()})
