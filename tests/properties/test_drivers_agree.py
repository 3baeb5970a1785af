"""One random script, several drivers: each must show what the memory model shows.

A `World` is one store with its slots. The machine draws an action, runs it in the model's world and in the driver's, and
compares what the two answer. Its own books (`alive`, `held`) hold the invariants that both could break in the same way:
nothing is lost, what was begun early is given to nobody else, untouched messages keep their order.

Dying is an action like any other: a slot that crashes is simply not heard of any more, until it is taken over or wakes up again
as a ghost. SEDANO_LONG=1 runs many more and longer scripts.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.contracts.stores import OpenStore, memory_store, redis_store, sqlite_store
from tests.properties.agreement import Agreement
from tests.properties.worlds import TASKS, with_fields
from tests.servers import RedisServer, redis_server

from sedano.contracts import Delivery, Fate, Lease, Settlement, TurnReply
from sedano.drivers.memory.broker import MemoryBroker
from sedano.drivers.memory.store import store_at
from sedano.exceptions import LeaseLost
from sedano.testing.contracts.harness import StoreUnderTest
from sedano.testing.contracts.messages import requeue

__all__ = ["redis_server"]

LONG = bool(os.environ.get("SEDANO_LONG"))

PROFILE = settings(
    max_examples=1500 if LONG else 40,
    stateful_step_count=80 if LONG else 40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    database=None,
)


either = pytest.mark.parametrize("shared_results", [True, False], ids=["results in the store", "results elsewhere"])


@either
def test_given_any_script_when_the_model_runs_it_then_nothing_is_lost_or_given_twice(shared_results: bool) -> None:
    agree(shared_results=shared_results)


@either
def test_given_any_script_when_sqlite_runs_it_then_it_shows_what_the_model_shows(tmp_path: Path, shared_results: bool) -> None:
    agree(lambda: sqlite_store(tmp_path), shared_results=shared_results)


@pytest.mark.redis
@either
def test_given_any_script_when_redis_runs_it_then_it_shows_what_the_model_shows(
    redis_server: RedisServer, shared_results: bool
) -> None:
    agree(lambda: redis_store(redis_server), shared_results=shared_results)


def agree(*opens: OpenStore, shared_results: bool) -> None:
    run_state_machine_as_test(lambda: Agreement([memory_store, *opens], shared_results=shared_results), settings=PROFILE)


class _Sabotaged(MemoryBroker):
    """A driver with one fault, named by `fault`."""

    fault = ""

    def release(self, lease: Lease, tags: Sequence[str] | None) -> int:
        if self.fault != "release counts" or not tags:
            return super().release(lease, tags)
        deliveries = [_requeued(tag) for tag in tags]
        return len(tags) - len(self.turn(lease, settle=deliveries).refused)

    def turn(self, lease: Lease, **wanted: Any) -> TurnReply:
        if self.fault == "a ghost may settle":
            with suppress(LeaseLost):
                return super().turn(lease, **wanted)
            return TurnReply()
        if self.fault == "requeue is an ack":
            wanted["settle"] = [
                with_fields(step, fate=Fate.ACK) if step.fate is Fate.REQUEUE else step for step in wanted.get("settle", ())
            ]
        if self.fault == "pauses are not heeded":
            pauses, self._store.agreements.pauses = self._store.agreements.pauses, {}
            try:
                return with_fields(super().turn(lease, **wanted), paused=frozenset(pauses))
            finally:
                self._store.agreements.pauses = pauses
        if self.fault == "queues in their own order":
            wanted["queues"] = sorted(wanted.get("queues", ()))
        if self.fault == "the first is only reserved":
            wanted["begin_new"] = None
        return super().turn(lease, **wanted)

    def unbegin(self, lease: Lease, tags: Sequence[str] | None, *, keep: Sequence[str] = ()) -> int:
        keep = () if self.fault == "unbegin keeps nothing" else keep
        return super().unbegin(lease, () if self.fault == "unbegin forgets" else tags, keep=keep)

    def promote(self, queues: Sequence[str], now: float, *, limit: int = 1000) -> tuple[int, float | None]:
        return super().promote(queues, now - 5 if self.fault == "promoted late" else now, limit=limit)

    def unpark(self, tasks: Collection[str], queues: Sequence[str], *, limit: int = 1000) -> int:
        return super().unpark(TASKS if self.fault == "whatever is parked" else tasks, queues, limit=limit)


def _requeued(tag: str) -> Settlement:
    return requeue(Delivery(tag, "", b"", None))


@pytest.mark.parametrize(
    "fault",
    [
        "release counts",
        "a ghost may settle",
        "requeue is an ack",
        "queues in their own order",
        "unbegin forgets",
        "unbegin keeps nothing",
        "the first is only reserved",
        "promoted late",
        "whatever is parked",
        "pauses are not heeded",
    ],
)
def test_given_a_driver_with_a_fault_when_it_is_compared_then_some_script_finds_it(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def broken_store() -> Generator[StoreUnderTest]:
        with memory_store() as store:
            broker = _Sabotaged(store_at(store.url), store.clock, writes_results=True)
            broker.fault = fault
            monkeypatch.setattr(store, "broker", lambda **_: broker)
            yield store
        broker.close()

    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            lambda: Agreement([memory_store, broken_store], shared_results=True),
            settings=settings(
                PROFILE, phases=[Phase.generate], max_examples=1000, derandomize=True, report_multiple_bugs=False
            ),
        )
