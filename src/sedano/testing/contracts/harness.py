"""What a suite is given: one fresh store, ways to open it, and short words for what a slot does with it.

An author of a driver writes a fixture named `store` that yields a `StoreUnderTest`, and subclasses the suites:

    @pytest.fixture
    def store(tmp_path):
        with StoreUnderTest(driver, url=f"mine://{tmp_path}/store", put_raw=...) as store:
            yield store

    class TestMyBroker(BrokerContract):
        pass
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import pytest

from sedano.clock import Clock
from sedano.contracts import (
    Begin,
    BeginRule,
    Broker,
    Bus,
    Coordination,
    Delivery,
    Depth,
    Lease,
    LeaseRecord,
    OpenOptions,
    Results,
    Schedules,
    Settlement,
    TurnReply,
)
from sedano.testing.clock import FakeClock

T = TypeVar("T")


class Closable(Protocol):
    def close(self) -> None: ...


C = TypeVar("C", bound=Closable)

PROMPT_S = 10.0
"""What happens "at once" has happened within this; waits that must be cut short last several times as long."""

LONG_WAIT_S = 60.0

ON_ITS_WAY_S = 0.05
"""What a store pushes to an idle machine is there within this."""

_numbers = itertools.count(1)


class Driver(Protocol):
    """What every driver package exports (`contracts/opening.py`); the module itself is passed."""

    SCHEMES: Sequence[str]

    def open_broker(self, url: str, options: OpenOptions) -> Broker: ...

    def open_results(self, url: str, options: OpenOptions) -> Results: ...

    def open_coordination(self, url: str, options: OpenOptions) -> Coordination: ...

    def open_bus(self, url: str, options: OpenOptions) -> Bus: ...

    def open_schedules(self, url: str, options: OpenOptions, space: str) -> Schedules: ...

    def shares_store(self, broker_url: str, results_url: str) -> bool: ...


class StoreUnderTest:
    """One store, empty at first, of its own for each test. Closes every connection that was opened through it.

    `put_raw(queue, raw)` stores bytes at the tail of a queue as another program would that knows nothing of our checks.
    `clock` is given to the driver; a driver whose server has its own clock (Redis) is tested with `SYSTEM_CLOCK`, and then
    `pass_time` really waits.
    """

    def __init__(
        self,
        driver: Driver,
        url: str,
        *,
        put_raw: Callable[[str, bytes], None],
        clock: Clock,
        transport: dict[str, Any] | None = None,
    ) -> None:
        self.driver = driver
        self.url = url
        self.put_raw = put_raw
        self.clock = clock
        self.transport = transport or {}
        self._open = ExitStack()

    # -- opening ------------------------------------------------------------------------------------------------------

    def options(self, *, writes_results: bool = True) -> OpenOptions:
        return OpenOptions(
            results_url=self.url if writes_results else None,
            transport=self.transport,
            results_transport=self.transport,
            clock=self.clock,
        )

    def broker(self, *, writes_results: bool = True) -> Broker:
        """`writes_results` False: results live in another store, and settling keeps pendings."""
        broker = self.driver.open_broker(self.url, self.options(writes_results=writes_results))
        self._open.callback(broker.close)
        return broker

    def results(self) -> Results:
        results = self.driver.open_results(self.url, self.options())
        self._open.callback(results.close)
        return results

    def coordination(self) -> Coordination:
        coordination = self.driver.open_coordination(self.url, self.options())
        self._open.callback(coordination.close)
        return coordination

    def schedules(self, space: str = "proj") -> Schedules:
        schedules = self.driver.open_schedules(self.url, self.options(), space)
        self._open.callback(schedules.close)
        return schedules

    def bus(self) -> Bus:
        bus = self.driver.open_bus(self.url, self.options())
        self._open.callback(bus.close)
        return bus

    def slot(self, name: str = "slot", *, writes_results: bool = True) -> Slot:
        """A connection with a lease of its own, as a slot has."""
        broker = self.broker(writes_results=writes_results)
        return Slot(broker, broker.register(unique(name), "celery@test"))

    def closing(self, thing: C) -> C:
        """Close `thing` (a stream, a mailbox) with the store."""
        self._open.callback(thing.close)
        return thing

    # -- time ---------------------------------------------------------------------------------------------------------

    @property
    def has_fake_clock(self) -> bool:
        return isinstance(self.clock, FakeClock)

    def now(self) -> float:
        return self.clock.wall()

    def pass_time(self, seconds: float) -> None:
        """Let `seconds` pass for the store."""
        if isinstance(self.clock, FakeClock):
            self.clock.advance(seconds)
        else:
            time.sleep(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._open.close()


@dataclass(slots=True)
class Slot:
    """A lease and the connection on which it is used."""

    broker: Broker
    lease: Lease
    refused: list[str] = field(default_factory=list)

    def turn(self, **wanted: Any) -> TurnReply:
        if not (wanted.get("reserve") and wanted.get("queues") and self.broker.capabilities.pushes):
            return self.broker.turn(self.lease, **wanted)
        return self._take_what_comes(**wanted)

    def _take_what_comes(
        self, *, reserve: int, queues: Sequence[str], begin_new: BeginRule | None = None, **rest: Any
    ) -> TurnReply:
        """A turn that reserves all that is ready in a store that pushes, as one turn does elsewhere: what lay there before
        is waited for, and for what was on its way a moment is left."""
        if begin_new is not None:  # its window is made of what one turn reserves, so that must be here
            self.release(self._take_what_comes(reserve=reserve, queues=queues).reserved)
        due = self._ready(queues)
        reply = self.broker.turn(self.lease, reserve=reserve, queues=queues, begin_new=begin_new, **rest)
        if rest:  # it may have put something into these queues
            due = max(due, len(reply.reserved) + self._ready(queues))
        deadline = time.monotonic() + PROMPT_S
        while len(reply.reserved) < reserve:
            self.broker.wait(queues, ON_ITS_WAY_S)
            more = self.broker.turn(self.lease, reserve=reserve - len(reply.reserved), queues=queues)
            reply.more = more.more
            reply.reserved += more.reserved
            if not more.reserved and (len(reply.reserved) >= due or time.monotonic() > deadline):
                break
        return reply

    def _ready(self, queues: Sequence[str]) -> int:
        return sum(depth.ready for depth in self.broker.depth(queues))

    def reserve(self, *queues: str, limit: int = 100) -> list[Delivery]:
        return self.turn(reserve=limit, queues=queues).reserved

    def begin(self, deliveries: Iterable[Delivery], *, early: bool = False) -> list[str]:
        return self.turn(begin=[Begin(delivery.tag, early) for delivery in deliveries]).begun

    def take(self, *queues: str, limit: int = 100, early: bool = False) -> list[Delivery]:
        """Reserve and begin."""
        deliveries = self.reserve(*queues, limit=limit)
        assert self.begin(deliveries, early=early) == tags(deliveries)
        return deliveries

    def settle(self, *settlements: Settlement) -> TurnReply:
        return self.turn(settle=settlements)

    def release(self, deliveries: Iterable[Delivery]) -> int:
        return self.broker.release(self.lease, tags(deliveries))

    def unbegin(self, deliveries: Iterable[Delivery]) -> int:
        return self.broker.unbegin(self.lease, tags(deliveries))

    def record(self) -> LeaseRecord:
        return next(record for record in self.broker.leases() if record.owner == self.lease.owner)

    def depth(self, queue: str) -> Depth:
        (depth,) = self.broker.depth([queue])
        return depth

    def take_over(self, victim: Slot, *, limit: int = 100) -> list[Delivery]:
        """Everything that the dead `victim` held, page by page."""
        record = victim.record()
        deliveries: list[Delivery] = []
        while True:
            taken = self.broker.take_over(record, self.lease, limit=limit)
            deliveries += taken.deliveries
            if not taken.more:
                return deliveries


def only_with(capability: str) -> Callable[[type[T]], type[T]]:
    """Class decorator: skip the class's own tests, not its subclasses' others, on a driver without this capability."""

    def needed(self: object, store: StoreUnderTest) -> None:  # noqa: ARG001 - a method
        if not getattr(store.broker().capabilities, capability):
            pytest.skip(f"this driver's capabilities say {capability}=False")

    def decorate(suite: type[T]) -> type[T]:
        name = f"needs_{capability}"
        for attribute, value in list(vars(suite).items()):
            if attribute.startswith("test_"):
                setattr(suite, attribute, pytest.mark.usefixtures(name)(value))
        setattr(suite, name, pytest.fixture(needed))
        return suite

    return decorate


def unique(name: str) -> str:
    """A name that no other call returns."""
    return f"{name}-{next(_numbers)}"


def tags(deliveries: Iterable[Delivery]) -> list[str]:
    return [delivery.tag for delivery in deliveries]


def race(*actions: Callable[[], T]) -> list[T]:
    """Run the actions in threads that start together; their results in order. An action's exception comes out here.

    Connections belong to one thread: each action opens its own and closes it.
    """
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], T]) -> T:
        start.wait(PROMPT_S)
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        futures = [pool.submit(run, action) for action in actions]
        return [future.result(LONG_WAIT_S) for future in futures]
