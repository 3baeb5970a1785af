"""What becomes of the dead's deliveries, on the memory store: exactly from a row, by rule without one, through failures."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sedano.contracts import Begin, Broker, Delivery, Fate, Lease, OpenOptions, Outcome, Settlement, encode_settlement
from sedano.drivers import memory
from sedano.exceptions import BrokerUnavailable
from sedano.rules.loss import LossVerdict, judge
from sedano.testing.contracts.messages import batch, routed, settlement, task_id_of, task_ids
from sedano.worker.leasebook import LeaseBook
from sedano.worker.link import StoreLink
from sedano.worker.reaper import Reaper, SlotDeath
from sedano.worker.table import CallNote, Cause, SharedTable

LEASE_S = 0.4


class NoTerms:
    """A book in which no task stands."""

    def find(self, name: str) -> None:
        return None


class PlainSettler:
    """The verdicts of `Settler` as bare settlements: what is in them is that class's business. Counts what it judged."""

    def __init__(self) -> None:
        self.judged: list[str] = []
        self.book = NoTerms()

    def judge(self, delivery: Delivery, *, begun: bool, early: bool, started: bool | None) -> LossVerdict:
        return judge(begun=begun, early=early, started=started, deliveries=delivery.deliveries, max_deliveries=2)

    def _one(self, delivery: Delivery, outcome: Outcome, fate: Fate = Fate.ACK) -> Settlement:
        self.judged.append(f"{task_id_of(delivery)}:{outcome}")
        return settlement(delivery, outcome=outcome, fate=fate)

    def redeliver(self, delivery: Delivery) -> Settlement:
        return self._one(delivery, Outcome.LOST, Fate.REQUEUE)

    def lost(self, delivery: Delivery, detail: str) -> Settlement:
        assert "exited prematurely" in detail
        return self._one(delivery, Outcome.LOST)

    def poison(self, delivery: Delivery, detail: str) -> Settlement:
        assert "exited prematurely" in detail
        return self._one(delivery, Outcome.POISON)

    def hard_limit(self, delivery: Delivery, seconds: float) -> Settlement:
        assert seconds == 3.0
        return self._one(delivery, Outcome.FAILURE)

    def terminated(self, delivery: Delivery) -> Settlement:
        return self._one(delivery, Outcome.REVOKED)

    def unstorable(self, settlement: Settlement, exc: Exception) -> Settlement:
        self.judged.append(f"{settlement.task_id}:unstorable")
        return Settlement(settlement.tag, Outcome.FAILURE, task_id=settlement.task_id)


class Flaky:
    """A broker whose method `name` fails once, before or after it was applied."""

    def __init__(self, broker: Broker, faults: list[tuple[str, str]]) -> None:
        self._broker, self._faults = broker, faults

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._broker, name)
        if not callable(real):
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            for when in ("before", "after"):
                if when == "after":
                    answer = real(*args, **kwargs)
                if (name, when) in self._faults:
                    self._faults.remove((name, when))
                    raise BrokerUnavailable(f"cut {when} {name}")
            return answer

        return call


class Bench:
    def __init__(self) -> None:
        self.url = f"memory://{uuid.uuid4().hex}"
        self.broker = self.open()
        self.table = SharedTable.create(1)
        self.row = self.table.row(0)
        self.book = LeaseBook(self.table)
        self.settler = PlainSettler()
        self.faults: list[tuple[str, str]] = []
        link = StoreLink(
            lambda: Flaky(self.open(), self.faults), lambda: None, lambda pending, _: pending, None, url=self.url, loud=False
        )  # type: ignore[arg-type,return-value]
        self.reaper = Reaper(link, self.book, self.settler, "node@test", LEASE_S)  # type: ignore[arg-type]
        self.lease = self.broker.register("node@test/0/1/a", "node@test")
        self.row.hold(self.lease.owner, self.lease.fence, time.monotonic())

    def open(self) -> Broker:
        return memory.open_broker(self.url, OpenOptions(results_url=self.url))

    def take(self, *ids: str, early: bool, reserve_too: tuple[str, ...] = ()) -> list[Delivery]:
        """Publish, reserve and begin `ids`; reserve `reserve_too`."""
        self.broker.publish(batch("q", [*ids, *reserve_too]))
        deliveries = self.broker.turn(self.lease, reserve=100, queues=["q"]).reserved
        self.broker.turn(self.lease, begin=[Begin(d.tag, early) for d in deliveries[: len(ids)]])
        return deliveries

    def window(self, deliveries: list[Delivery], early: bool) -> None:
        self.row.open_window([CallNote(d.tag, "q", task_id_of(d), "tests.add", early, hard_s=3.0) for d in deliveries])

    def die(self, how: str = "signal 9 (SIGKILL)", *, cold: bool = False) -> None:
        self.reaper.bury(SlotDeath(self.row.snapshot(), how, cold))
        self.row.reset()

    def settle_all(self, seconds: float = 60.0) -> None:
        self.reaper.rounds.start()
        self.until(lambda: self.reaper.idle, seconds)

    def until(self, claim: Callable[[], bool], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        while not claim():
            assert time.monotonic() < deadline
            self.reaper.rounds.pause(0.005) if not self.reaper.rounds.alive else time.sleep(0.005)

    def waiting(self) -> list[tuple[str, int]]:
        """What is in the queue, in order, with its count of lost deliveries."""
        lease = self.broker.register(uuid.uuid4().hex, "witness")
        found = self.broker.turn(lease, reserve=100, queues=["q"]).reserved
        return [(task_id_of(d), d.deliveries) for d in found]

    def close(self) -> None:
        if self.reaper.rounds.alive:
            self.reaper.rounds.stop()
            assert self.reaper.rounds.join(60)
        self.table.close()
        memory.forget_store(self.url)


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.close()


def test_given_a_slot_that_died_in_a_window_when_it_is_buried_then_each_call_has_its_exact_fate(bench: Bench) -> None:
    deliveries = bench.take("done", "ran", "waits", early=True, reserve_too=("reserved",))
    bench.window(deliveries[:3], early=True)
    bench.row.start(0, 1.0)
    bench.row.finish(0, encode_settlement(settlement(deliveries[0])))
    bench.row.start(1, 2.0)
    bench.die()
    bench.settle_all()
    assert bench.settler.judged == ["ran:lost"]
    assert bench.waiting() == [("waits", 0), ("reserved", 0)]
    assert [record.owner for record in bench.broker.leases() if record.owner == bench.lease.owner] == []


def test_given_calls_begun_in_the_store_when_the_slot_died_before_its_table_knew_then_they_did_not_run(bench: Bench) -> None:
    bench.take("a", "b", early=True)
    bench.die()
    bench.settle_all()
    assert bench.settler.judged == []
    assert bench.waiting() == [("a", 0), ("b", 0)]


def test_given_a_late_call_when_its_slot_dies_then_it_goes_back_counted_until_the_cap(bench: Bench) -> None:
    deliveries = bench.take("a", early=False)
    bench.window(deliveries, early=False)
    bench.row.start(0, 1.0)
    bench.die()
    bench.settle_all()
    assert bench.waiting() == [("a", 1)]


@pytest.mark.parametrize(
    ("cause", "early", "judged"),
    [
        (Cause.HARD_LIMIT, True, ["a:failure"]),
        (Cause.TERMINATED, False, ["a:revoked"]),
        (Cause.COLD_STOP, True, ["a:lost"]),
        (Cause.COLD_STOP, False, ["a:lost"]),
    ],
)
def test_given_a_slot_that_was_ended_on_purpose_when_it_is_buried_then_the_cause_decides(
    bench: Bench, cause: Cause, early: bool, judged: list[str]
) -> None:
    deliveries = bench.take("a", early=early)
    bench.window(deliveries, early=early)
    bench.row.start(0, 1.0)
    assert bench.row.condemn(bench.row.window, 0, cause)
    bench.die()
    bench.settle_all()
    assert bench.settler.judged == judged
    assert bench.waiting() == ([("a", 1)] if (cause, early) == (Cause.COLD_STOP, False) else [])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", ["register", "take_over", "turn", "unbegin", "release"])
def test_given_a_store_that_fails_at_any_step_when_it_is_back_then_everything_is_settled_once(
    bench: Bench, method: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sedano.worker.link.backoff", lambda: iter([0.01] * 100))
    link = bench.reaper._link
    link._waits = iter([0.01] * 100)
    deliveries = bench.take("ran", "waits", early=True, reserve_too=("reserved",))
    bench.window(deliveries[:2], early=True)
    bench.row.start(0, 1.0)
    bench.faults.append((method, when))
    bench.die()
    bench.settle_all()
    assert bench.faults == []
    assert bench.settler.judged == ["ran:lost"]  # hooks of the user's task ran once
    assert bench.waiting() == [("waits", 0), ("reserved", 0)]
    held = [record.held for record in bench.broker.leases() if record.node == "node@test"]
    assert sum(held) == 0


def test_given_a_settlement_that_the_store_refuses_when_its_slot_is_buried_then_it_alone_becomes_a_failure(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    deliveries = bench.take("done", "nowhere", "ran", early=True)
    bench.window(deliveries, early=True)
    unbound = routed("an exchange without a queue", "direct", "key", "next")
    for k, out in enumerate(((), (unbound,))):
        bench.row.start(k, 1.0)
        bench.row.finish(k, encode_settlement(settlement(deliveries[k], messages_out=out)))
    bench.row.start(2, 1.0)
    bench.die()
    bench.settle_all()

    assert bench.settler.judged == ["ran:lost", "nowhere:unstorable"]
    assert bench.waiting() == []
    assert sum(record.held for record in bench.broker.leases()) == 0
    assert "success of task nowhere cannot be stored" in caplog.text


def test_given_a_dead_owner_of_another_node_when_it_is_inherited_then_what_may_have_run_is_judged_and_the_rest_goes_back(
    bench: Bench,
) -> None:
    bench.row.reset()
    bench.broker.retire(bench.lease)
    dead = bench.broker.register("other/0/1/dead", "other@test")
    bench.broker.publish(batch("q", ["early", "late", "reserved"]))
    early, late, _ = bench.broker.turn(dead, reserve=3, queues=["q"]).reserved
    bench.broker.turn(dead, begin=[Begin(early.tag, True), Begin(late.tag, False)])
    bench.reaper.inherit(bench.broker.leases())
    bench.settle_all()
    assert sorted(bench.settler.judged) == ["early:lost", "late:lost"]
    assert bench.waiting() == [("reserved", 0), ("late", 1)]


def test_given_an_owner_that_was_renewed_meanwhile_when_it_is_inherited_then_nothing_is_taken_from_it(bench: Bench) -> None:
    alive = bench.broker.register("other/0/1/alive", "other@test")
    records = [record for record in bench.broker.leases() if record.owner == alive.owner]
    bench.broker.publish(batch("q", ["kept"]))
    bench.broker.turn(alive, reserve=1, queues=["q"])
    bench.broker.renew([alive])
    bench.reaper.inherit(records)
    bench.settle_all()
    assert bench.waiting() == []
    assert {record.held for record in bench.broker.leases() if record.owner == alive.owner} == {1}


def test_given_calls_taken_back_when_they_are_given_back_then_they_are_in_the_queue_and_the_slot_may_not_begin_the_rest(
    bench: Bench,
) -> None:
    deliveries = bench.take("a", "b", "c", early=True, reserve_too=("d",))
    bench.window(deliveries[:3], early=True)
    bench.row.start(0, 1.0)
    tags = [note.tag for note in bench.row.take_back()]
    bench.reaper.give_back(bench.lease, tags, release_all=True)
    bench.settle_all()
    assert task_ids(deliveries)[1:3] == ["b", "c"]
    assert {task for task, _ in bench.waiting()} == {"b", "c", "d"}
    assert bench.broker.turn(bench.lease, begin=[Begin(deliveries[3].tag, True)]).begun == []
    bench.reaper.give_back(Lease("nobody", 1), ["x"], release_all=True)  # a slot that is dead by now
    bench.until(lambda: bench.reaper.idle)
