"""Apps for tests: on a memory store of their own, and nobody's current app afterwards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from itertools import count
from typing import Any

import pytest

from sedano import Celery, current
from sedano.contracts import Delivery
from sedano.drivers import memory
from sedano.exceptions import ImproperlyConfigured

MakeApp = Callable[..., Celery]

_numbers = count(1)


def memory_url() -> str:
    return f"memory://app-{next(_numbers)}"


@pytest.fixture
def make_app() -> Generator[MakeApp]:
    """`make_app(...)` as `Celery("proj", ...)`, on a new memory store unless a broker is given."""
    before = current.get_app()
    shared = list(current._shared)
    apps: list[Celery] = []

    def make(main: str | None = "proj", **keywords: Any) -> Celery:
        if "broker" not in keywords:
            url = memory_url()
            keywords = {"broker": url, "backend": url, **keywords}
        app = Celery(main, **keywords)
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()
        with contextlib.suppress(ImproperlyConfigured):
            if app.configured and app.stores.broker_url.startswith("memory://"):
                memory.forget_store(app.stores.broker_url)
    current.set_app(before)
    current._shared[:] = shared


@pytest.fixture
def app(make_app: MakeApp) -> Celery:
    return make_app()


def sent(app: Celery, *queues: str, limit: int = 100) -> list[Delivery]:
    """What waits in the queues, taken out of them."""
    with contextlib.closing(app.stores.open_broker()) as broker:
        lease = broker.register(f"test-{next(_numbers)}", "test")
        return broker.turn(lease, reserve=limit, queues=queues or tuple(broker.queues())).reserved


def sent_one(app: Celery, *queues: str) -> Delivery:
    deliveries = sent(app, *queues)
    assert len(deliveries) == 1, deliveries
    return deliveries[0]
