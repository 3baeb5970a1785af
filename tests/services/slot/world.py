"""One slot in a thread of the test, its store, and what a test asks of both."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from sedano.app.base import Celery
from sedano.contracts import (
    Broker,
    DeadLetter,
    Delivery,
    Depth,
    Lease,
    LeaseRecord,
    OpenOptions,
    Outgoing,
    Results,
    Revoke,
    Standing,
    Taken,
)
from sedano.drivers import memory, redis, sqlite
from sedano.protocol.call import build
from sedano.protocol.results import decode_meta
from sedano.worker.context import SlotContext, SlotOptions
from sedano.worker.slot import run_slot
from sedano.worker.table import SharedTable

NODE = "w1@test"
PATIENCE_S = 60.0
_numbers = count(1)


class World:
    """An app on a store of its own, seen from outside through connections that never break.

    The store is in memory, in `folder` if that is given (sqlite), or on the Redis server at `server`.
    """

    def __init__(
        self, *, two_stores: bool = False, folder: Path | None = None, server: str | None = None, **settings: Any
    ) -> None:
        number = next(_numbers)
        self.driver: Any = redis if server is not None else memory if folder is None else sqlite
        self.url = f"memory://slot-{number}" if folder is None else f"sqlite:///{folder}/slot.db"
        self.results_url = self.url.replace("slot", "results") if two_stores else self.url
        if server is not None:
            self.url, self.results_url = f"{server}?db=0", f"{server}?db={'1' if two_stores else '0'}"
        self.app: Any = Celery(f"world{number}", broker=self.url, backend=self.results_url, set_as_current=False)
        self.app.conf.update(settings)
        self.broker: Broker = self.driver.open_broker(self.url, OpenOptions(results_url=self.results_url))
        self.results: Results = self.driver.open_results(self.results_url, OpenOptions())
        self.slots: list[RunningSlot] = []
        self._ids = count(1)

    def close(self) -> None:
        for slot in self.slots:
            slot.stop()
        self.broker.close()
        self.results.close()
        if self.driver is memory:
            for url in {self.url, self.results_url}:
                memory.forget_store(url)

    def task(self, **options: Any) -> Any:
        """`@app.task(...)`, for this app alone."""
        return self.app.task(shared=False, **options)

    # -- producing ----------------------------------------------------------------------------------------------------

    def call(self, task: str, *args: Any, id: str | None = None, queue: str = "celery", **options: Any) -> str:  # noqa: A002
        """Publish a call; its id. `options` are those of `protocol.call.build`."""
        task_id = id or f"id{next(self._ids)}"
        message = build(task, task_id, args, routing_key=queue, **options)
        self.broker.publish([Outgoing(message, queue)])
        return task_id

    def revoke(self, task_id: str) -> None:
        self.driver.open_coordination(self.url, OpenOptions()).revoke([Revoke(task_id)], keep_s=60.0)

    # -- running ------------------------------------------------------------------------------------------------------

    def start(self, **options: Any) -> RunningSlot:
        slot = RunningSlot(self, replace(SlotOptions(queues=("celery",)), **options))
        self.slots.append(slot)
        return slot

    # -- looking ------------------------------------------------------------------------------------------------------

    def state(self, task_id: str) -> str:
        payload = self.results.fetch([task_id])[0]
        return "PENDING" if payload is None else decode_meta(payload)["status"]

    def record(self, task_id: str) -> dict[str, Any]:
        payload = self.results.fetch([task_id])[0]
        assert payload is not None
        return decode_meta(payload)

    def wait_for(self, *states: tuple[str, str]) -> None:
        """Until each (task id, state) is stored."""
        stream = self.results.subscribe()
        stream.watch([task_id for task_id, _ in states])
        until = time.monotonic() + PATIENCE_S
        while missing := [pair for pair in states if self.state(pair[0]) != pair[1]]:
            assert time.monotonic() < until, f"still {[self.state(task_id) for task_id, _ in missing]}: waiting for {missing}"
            stream.wait(PATIENCE_S)
        stream.close()

    def depth(self, queue: str = "celery") -> Depth:
        return self.broker.depth([queue])[0]

    def dead(self) -> list[DeadLetter]:
        return self.broker.dead_letters()

    def take_over(self, slot: RunningSlot) -> Taken:
        """Do what a reaper does that believes the slot's node dead: take everything it holds."""
        return take_over(self.broker, slot.lease)


def take_over(broker: Broker, lease: Lease) -> Taken:
    reaper = broker.register(f"reaper-{next(_numbers)}", "reaper")
    return broker.take_over(LeaseRecord(lease.owner, NODE, lease.fence, 0), reaper, limit=1000, force=True)


class RunningSlot:
    """`run_slot` in a thread, as the solo pool runs it: no signals, everything else real."""

    def __init__(self, world: World, options: SlotOptions) -> None:
        self.table = SharedTable.create(1)
        self.row = self.table.row(0)
        self._wake_read, self._wake_write = os.pipe()
        self.notify_read, notify_write = os.pipe()
        self.code: int | None = None
        self.error: BaseException | None = None
        context = SlotContext(world.app, 0, "slot", NODE, self.table, options, self._wake_read, notify_write)

        def run() -> None:
            try:
                self.code = run_slot(context)
            except BaseException as exc:
                self.error = exc

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    @property
    def lease(self) -> Lease:
        return Lease(self.row.owner, self.row.fence)

    def wake(self) -> None:
        os.write(self._wake_write, b"w")

    def stop(self) -> int | None:
        self.row.stop = 1
        self.wake()
        return self.join()

    def join(self) -> int | None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the slot does not end"
        if self.error is not None:
            raise self.error
        return self.code


class Gate:
    """A place in a task where it stops until the test lets it go on."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def pass_through(self) -> None:
        self.reached.set()
        assert self.opened.wait(PATIENCE_S), "the test never opened the gate"

    def wait(self) -> None:
        assert self.reached.wait(PATIENCE_S), "the task never came to the gate"


def standings(deliveries: list[Delivery]) -> list[Standing]:
    return [delivery.standing for delivery in deliveries]


__all__ = ["NODE", "Callable", "Gate", "RunningSlot", "World", "standings", "take_over"]
