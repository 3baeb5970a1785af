"""One store, apps on it that are all of one cluster, and their beats on one clock."""

from __future__ import annotations

import uuid
from contextlib import closing
from typing import Any

from sedano import Celery
from sedano.beat.storescheduler import StoreScheduler
from sedano.contracts import Delivery
from sedano.testing.clock import FakeClock

START = 2_000_000_000.0  # 2033-05-18 03:33:20 UTC


class Stage:
    """One store, apps on it that are all of one cluster, and their schedulers on one clock."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = FakeClock(wall=START)
        self._apps: list[Celery] = []
        self._schedulers: list[StoreScheduler] = []

    def app(self, main: str = "proj", **settings: Any) -> Celery:
        app = Celery(main, broker=self.url, backend=self.url, set_as_current=False, **settings)
        self._apps.append(app)

        @app.task(name="add")
        def add(x: int = 0, y: int = 0) -> int:
            return x + y

        return app

    def scheduler(self, app: Celery | None = None, **entries: Any) -> StoreScheduler:
        """A beat's scheduler, for an app with these entries of `beat_schedule`."""
        app = app or self.app()
        app.conf.beat_schedule = entries
        app.conf.result_expires = None  # no entry that cleans up
        scheduler = StoreScheduler(app, clock=self.clock)
        self._schedulers.append(scheduler)
        return scheduler

    def after(self, seconds: float, *schedulers: StoreScheduler) -> None:
        """Let time pass, and each scheduler tick until nothing is due."""
        self.clock.advance(seconds)
        for scheduler in schedulers:
            settle(scheduler)

    def sent(self) -> list[Delivery]:
        """What stands in the queue, the oldest first. It is taken out."""
        with closing(self._apps[0].stores.open_broker()) as broker:
            lease = broker.register(f"reader{uuid.uuid4().hex}", "reader@test")
            found: list[Delivery] = []
            while reserved := broker.turn(lease, reserve=1000, queues=["celery"]).reserved:
                found += reserved
            broker.purge("celery")
            return found

    def ids(self) -> list[str]:
        return [str(delivery.message.headers["id"]) for delivery in self.sent() if delivery.message is not None]

    def close(self) -> None:
        for scheduler in self._schedulers:
            scheduler.close()
        for app in self._apps:
            app.close()


def settle(scheduler: StoreScheduler) -> float:
    """Tick until nothing is due; in how many seconds it wants to come back."""
    for _ in range(1000):
        wait_s = scheduler.tick()
        if wait_s > 0:
            return wait_s
    raise AssertionError("it ticks without end")
