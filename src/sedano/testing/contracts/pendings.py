"""Results in another store: settling keeps what is left to do there until it is said to be done."""

from __future__ import annotations

import pytest

from sedano.contracts import Outcome, Pending, Settlement
from sedano.exceptions import LeaseLost
from sedano.testing.contracts.harness import Slot, StoreUnderTest
from sedano.testing.contracts.messages import batch, chord_part, outgoing, requeue, result, settlement, task_ids


class PendingContract:
    def test_given_results_elsewhere_when_settled_then_neither_result_nor_chord_is_written_here(
        self, store: StoreUnderTest
    ) -> None:
        slot, results = store.slot(writes_results=False), store.results()
        assert not slot.broker.capabilities.shared_results
        results.start_chord("g", 1, 3600.0)
        (step,) = settle_all(slot, ["a"])
        assert step.result is not None
        assert results.fetch(["a"]) == [None]
        assert results.chord_parts("g") == []

    def test_given_an_owner_that_died_before_it_wrote_when_taken_over_then_the_taker_gets_what_is_left_to_do(
        self, store: StoreUnderTest
    ) -> None:
        slot, reaper = store.slot(writes_results=False), store.slot("reaper", writes_results=False)
        settle_all(slot, "ab", retries=3)
        record = slot.record()
        assert record.held == 0
        taken = reaper.broker.take_over(record, reaper.lease, limit=100)
        assert taken.deliveries == []
        assert sorted(taken.pendings, key=lambda pending: pending.key) == [expected("a", 3), expected("b", 3)]

    def test_given_records_of_other_calls_when_taken_over_then_they_are_left_to_do_too(self, store: StoreUnderTest) -> None:
        slot, reaper = store.slot(writes_results=False), store.slot("reaper", writes_results=False)
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        slot.settle(settlement(delivery, more_results=(result("b"), result("c"))))
        (pending,) = reaper.broker.take_over(slot.record(), reaper.lease, limit=100).pendings
        assert [write.task_id for write in pending.writes] == ["b", "c"]

    def test_given_pendings_when_the_owner_says_they_are_stored_then_nobody_gets_them(self, store: StoreUnderTest) -> None:
        slot, reaper = store.slot(writes_results=False), store.slot("reaper", writes_results=False)
        settle_all(slot, "abc")
        assert slot.turn(stored=["a:0", "c:0", "unknown:0"]).refused == []
        slot.turn(stored=["a:0"])
        taken = reaper.broker.take_over(slot.record(), reaper.lease, limit=100)
        assert [pending.key for pending in taken.pendings] == ["b:0"]

    def test_given_pendings_that_were_taken_over_when_the_taker_dies_too_then_they_go_on(self, store: StoreUnderTest) -> None:
        slot, first, second = (store.slot(writes_results=False) for _ in range(3))
        settle_all(slot, "ab")
        first.broker.take_over(slot.record(), first.lease, limit=100)
        first.turn(stored=["a:0"])
        assert [pending.key for pending in second.broker.take_over(first.record(), second.lease, limit=100).pendings] == ["b:0"]
        second.turn(stored=["b:0"])
        assert second.broker.retire(second.lease) == 0
        assert second.broker.leases() == []

    def test_given_many_pendings_and_deliveries_when_taken_over_in_pages_then_each_comes_once(
        self, store: StoreUnderTest
    ) -> None:
        slot, reaper = store.slot(writes_results=False), store.slot("reaper", writes_results=False)
        names = [f"call-{number}" for number in range(12)]
        settle_all(slot, names)
        slot.broker.publish(batch("q", "xyz"))
        slot.take("q", limit=2)
        slot.reserve("q")
        record = slot.record()
        pages = [reaper.broker.take_over(record, reaper.lease, limit=4)]
        with pytest.raises(LeaseLost):
            slot.turn(stored=["call-0:0"])
        while pages[-1].more:
            pages.append(reaper.broker.take_over(record, reaper.lease, limit=4))
        assert all(len(page.deliveries) <= 4 and len(page.pendings) <= 4 for page in pages)
        assert sorted(task_ids(delivery for page in pages for delivery in page.deliveries)) == ["x", "y", "z"]
        assert sorted(pending.key for page in pages for pending in page.pendings) == sorted(f"{name}:0" for name in names)
        assert [record.owner for record in reaper.broker.leases()] == [reaper.lease.owner]

    def test_given_pendings_when_the_owner_retires_then_they_and_the_lease_are_left_to_a_reaper(
        self, store: StoreUnderTest
    ) -> None:
        slot, reaper = store.slot(writes_results=False), store.slot("reaper", writes_results=False)
        settle_all(slot, "a")
        assert slot.broker.retire(slot.lease) == 0
        record = next(record for record in reaper.broker.leases() if record.owner == slot.lease.owner)
        taken = reaper.broker.take_over(record, reaper.lease, limit=100)
        assert [pending.key for pending in taken.pendings] == ["a:0"]

    def test_given_a_settlement_without_result_when_settled_then_nothing_is_left_to_do(self, store: StoreUnderTest) -> None:
        slot = store.slot(writes_results=False)
        slot.broker.publish(batch("q", "a"))
        slot.settle(settlement(slot.take("q")[0]))
        assert slot.broker.retire(slot.lease) == 0
        assert slot.broker.leases() == []

    def test_given_a_refused_settlement_when_taken_over_then_nothing_of_it_is_left_to_do(self, store: StoreUnderTest) -> None:
        slot, reaper = store.slot(writes_results=False), store.slot("reaper", writes_results=False)
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        slot.release([delivery])
        slot.unbegin([delivery])
        assert slot.settle(settlement(delivery, result=result("a"))).refused == [delivery.tag]
        assert reaper.broker.take_over(slot.record(), reaper.lease, limit=100).pendings == []

    def test_given_everything_else_of_a_settlement_when_settled_then_it_is_done_at_once(self, store: StoreUnderTest) -> None:
        slot = store.slot(writes_results=False)
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        again = requeue(delivery)
        step = Settlement(
            delivery.tag, Outcome.LOST, again.fate, "a", result=result("a"), messages_out=(outgoing("out", "next"),)
        )
        assert slot.settle(step).refused == []
        assert task_ids(slot.reserve("q", "out")) == ["a", "next"]

    def test_given_the_same_attempt_settled_again_under_another_delivery_when_taken_over_then_the_later_one_counts(
        self, store: StoreUnderTest
    ) -> None:
        slot, reaper = store.slot(writes_results=False), store.slot("reaper", writes_results=False)
        slot.broker.publish(batch("q", "aa"))
        first, second = slot.take("q")
        slot.settle(settlement(first, result=result("a", b"first")))
        slot.turn(stored=["a:0"], settle=[settlement(second, result=result("a", b"second"))])
        (pending,) = reaper.broker.take_over(slot.record(), reaper.lease, limit=100).pendings
        assert pending.result is not None
        assert pending.result.payload == b"second"


def settle_all(slot: Slot, names: str | list[str], *, retries: int = 0) -> list[Settlement]:
    slot.broker.publish(batch("q", names))
    deliveries = slot.take("q", limit=len(names))
    steps = [
        settlement(each, retries=retries, result=result(name, name.encode()), chord_part=chord_part("g", 0, task_id=name))
        for name, each in zip(names, deliveries, strict=True)
    ]
    reply = slot.settle(*steps)
    assert (reply.refused, reply.chords) == ([], [])
    return steps


def expected(name: str, retries: int) -> Pending:
    return Pending(f"{name}:{retries}", result(name, name.encode()), chord_part("g", 0, task_id=name))
