"""The keeper on the memory store: leases, due calls, revokes, silence."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from sedano.contracts import Broker, Delay, Lease, LeaseRecord, OpenOptions, Outgoing, QueueSpec, Revoke
from sedano.drivers import memory
from sedano.exceptions import BrokerUnavailable, ResultsUnavailable
from sedano.testing.contracts.messages import batch, message, task_ids
from sedano.worker.keeper import Keeper, KeeperEars, KeeperTerms
from sedano.worker.leasebook import LeaseBook
from sedano.worker.link import StoreLink
from sedano.worker.table import Phase, SharedTable


class Bench:
    def __init__(self, lease_s: float = 0.6) -> None:
        self.url = f"memory://{uuid.uuid4().hex}"
        self.broker = self.open()
        self.table = SharedTable.create(1)
        self.row = self.table.row(0)
        self.book = LeaseBook(self.table)
        self.connections = 0
        self.orders: list[Revoke] = []
        self.tries: list[int] = []
        self.dead: list[LeaseRecord] = []
        self.refuse = False
        finisher: Any = None  # no chord is completed here
        link = StoreLink(self.open_or_refuse, self.results, lambda pending, _: pending, finisher, url="memory://", loud=True)
        ears = KeeperEars(self._connected, self.orders.extend, self.dead.extend, self.tries.append)
        terms = KeeperTerms(
            "node@test", ("q",), (QueueSpec("q", "q", "direct", "q"),), lease_s, "memory://", frozenset({"known"})
        )
        self.keeper = Keeper(
            terms, self.book, link, self.results, lambda: memory.open_coordination(self.url, OpenOptions()), ears
        )

    def open(self) -> Broker:
        return memory.open_broker(self.url, OpenOptions(results_url=self.url))

    def open_or_refuse(self) -> Broker:
        if self.refuse:
            raise BrokerUnavailable("nobody there")
        return self.open()

    def results(self) -> memory.Results:
        return memory.open_results(self.url, OpenOptions())

    def _connected(self) -> None:
        self.connections += 1

    def slot(self) -> Lease:
        lease = self.broker.register("node@test/0/1/a", "node@test")
        self.row.hold(lease.owner, lease.fence, now=0.0)
        return lease

    def until(self, claim: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not claim():
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def ready(self) -> Sequence[str]:
        lease = self.broker.register(uuid.uuid4().hex, "witness")
        return task_ids(self.broker.turn(lease, reserve=100, queues=["q"]).reserved)

    def close(self) -> None:
        self.keeper.finish(hand_back=False)
        assert self.keeper.rounds.join(60)
        self.table.close()
        memory.forget_store(self.url)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_given_a_slot_with_a_lease_when_the_keeper_works_then_beats_and_the_row_show_the_renewals(bench: Bench) -> None:
    bench.slot()
    bench.keeper.rounds.start()
    bench.until(lambda: bench.broker.leases()[0].beats >= 3)
    assert time.monotonic() - bench.row.renewed_at < 1.0
    assert not bench.row.lost
    assert bench.connections == 1


def test_given_a_lease_that_was_taken_over_when_it_is_renewed_then_the_slot_is_told(bench: Bench) -> None:
    bench.slot()
    thief = bench.broker.register("thief", "other@test")
    bench.broker.take_over(bench.broker.leases()[0], thief, limit=10, force=True)
    bench.keeper.rounds.start()
    bench.until(lambda: bench.row.lost)
    lease = bench.broker.register("node@test/0/1/b", "node@test")
    bench.row.hold(lease.owner, lease.fence, now=0.0)
    bench.until(lambda: any(record.owner == lease.owner and record.beats for record in bench.broker.leases()))
    assert not bench.row.lost


def test_given_a_delayed_call_when_its_slot_writes_the_hint_then_it_is_promoted_when_it_is_due() -> None:
    bench = Bench(lease_s=3600.0)  # the slow look would come in a quarter of an hour
    try:
        lease = bench.slot()
        bench.keeper.rounds.start()
        bench.until(lambda: bench.connections == 1)
        bench.broker.publish(batch("q", ["a"]))
        (delivery,) = bench.broker.turn(lease, reserve=1, queues=["q"]).reserved
        due = time.time() + 0.3
        bench.broker.turn(lease, delay=[Delay(delivery.tag, due)])
        bench.row.next_due = due
        bench.keeper.rounds.wake()
        bench.until(lambda: bench.broker.depth(["q"])[0].ready == 1)
        assert 0.0 <= time.time() - due < 0.25
        assert bench.ready() == ["a"]
    finally:
        bench.close()


def test_given_a_call_that_another_node_delayed_when_the_slow_look_comes_then_it_is_promoted(bench: Bench) -> None:
    lease = bench.slot()
    bench.broker.publish(batch("q", ["a"]))
    (delivery,) = bench.broker.turn(lease, reserve=1, queues=["q"]).reserved
    bench.broker.turn(lease, delay=[Delay(delivery.tag, time.time() + 0.05)])
    bench.keeper.rounds.start()
    bench.until(lambda: bench.broker.depth(["q"])[0].ready == 1)


class Endless:
    """A store in which there is always more that is due, and more whose time is over."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def promote(self, queues: Sequence[str], now: float) -> tuple[int, float | None]:
        return 1000, now - 1.0

    def expire(self, now: float) -> int:
        return 1000


def test_given_more_due_calls_and_old_records_than_a_lease_time_has_room_for_then_the_leases_are_renewed_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real_broker, real_results = Bench.open_or_refuse, Bench.results
    monkeypatch.setattr(Bench, "open_or_refuse", lambda bench: Endless(real_broker(bench)))
    monkeypatch.setattr(Bench, "results", lambda bench: Endless(real_results(bench)))
    bench = Bench()
    try:
        bench.slot()
        bench.keeper.rounds.start()
        bench.until(lambda: bench.broker.leases()[0].beats >= 5)
        assert time.monotonic() - bench.row.renewed_at < 0.6
    finally:
        bench.close()


def test_given_an_order_to_terminate_in_the_store_when_the_revision_changes_then_the_supervisor_hears_it(bench: Bench) -> None:
    bench.slot()
    bench.row.phase = Phase.BUSY
    bench.keeper.rounds.start()
    memory.open_coordination(bench.url, OpenOptions()).revoke([Revoke("a"), Revoke("b", True, "SIGKILL")], keep_s=60)
    bench.until(lambda: bench.orders == [Revoke("b", True, "SIGKILL")])


def test_given_owners_of_other_nodes_when_one_stands_still_for_the_lease_time_then_it_is_named_and_the_live_one_is_not(
    bench: Bench,
) -> None:
    bench.slot()
    dead = bench.broker.register("other/0/1/dead", "other@test")
    alive = bench.broker.register("other/1/2/alive", "other@test")
    began = time.monotonic()
    bench.keeper.rounds.start()

    def named() -> bool:
        bench.broker.renew([alive])
        return bool(bench.dead)

    bench.until(named)
    assert {record.owner for record in bench.dead} == {dead.owner}
    assert time.monotonic() - began >= 0.6


def test_given_no_broker_when_the_keeper_starts_then_it_says_so_counts_and_connects_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bench.keeper._link._waits = iter([0.01] * 1000)
    bench.refuse = True
    bench.keeper.rounds.start()
    bench.until(lambda: len(bench.tries) >= 2)
    bench.refuse = False
    bench.until(lambda: bench.connections == 1)
    assert bench.tries[:2] == [1, 2]
    assert "consumer: Cannot connect to memory://: nobody there.\nTrying again in 0.01 seconds... (1)" in caplog.text


def test_given_a_result_store_of_its_own_that_is_away_then_the_broker_does_not_count_as_lost(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def nobody() -> memory.Results:
        raise ResultsUnavailable("no results there")

    bench.keeper._open_results = nobody
    bench.slot()
    bench.keeper.rounds.start()
    bench.until(lambda: bench.broker.leases()[0].beats >= 3)
    assert (bench.connections, bench.tries) == (1, [])
    assert "old results are not removed now: no results there" in caplog.text


@pytest.mark.parametrize("another_lives", [True, False])
def test_given_a_node_that_ends_when_it_is_the_last_then_delayed_calls_are_handed_back(
    bench: Bench, another_lives: bool
) -> None:
    lease = bench.slot()
    bench.broker.publish(batch("q", ["a"], eta="2999-01-01T00:00:00+00:00"))
    (delivery,) = bench.broker.turn(lease, reserve=1, queues=["q"]).reserved
    bench.broker.turn(lease, delay=[Delay(delivery.tag, time.time() + 3600)])
    bench.keeper.rounds.start()
    bench.until(lambda: bench.connections == 1)
    if not another_lives:
        bench.row.reset()
        bench.broker.retire(lease)
    bench.keeper.finish(hand_back=True)
    assert bench.keeper.rounds.join(60)
    depth = bench.broker.depth(["q"])[0]
    assert (depth.ready, depth.delayed) == ((0, 1) if another_lives else (1, 0))


def test_given_parked_calls_when_a_node_joins_then_those_that_it_knows_are_back_and_the_others_wait(bench: Bench) -> None:
    until = time.time() + 600
    bench.broker.publish(
        [Outgoing(message(task), "q", due=until, parked=task) for task in ("known", "gone")]
        + [Outgoing(message("elsewhere"), "q2", due=until, parked="known")]
    )
    bench.keeper.rounds.start()
    bench.until(lambda: bench.broker.depth(["q"])[0].parked == 1)
    assert bench.ready() == ["known"]
    assert [(one.queue, one.task) for one in bench.broker.parked(["q", "q2"])] == [("q", "gone"), ("q2", "known")]


def test_given_other_nodes_when_one_of_them_parks_what_this_node_knows_then_it_is_fetched(bench: Bench) -> None:
    bench.broker.register("other", "other@test")
    bench.keeper.rounds.start()
    bench.until(lambda: bench.connections == 1)
    for task_id in ("first", "second"):
        bench.broker.publish([Outgoing(message(task_id), "q", due=time.time() + 600, parked="known")])
        bench.until(lambda: bench.broker.depth(["q"])[0].parked == 0)
        assert bench.ready() == [task_id]
