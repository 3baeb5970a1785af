"""Taking over what a dead owner held: by a reaper that saw no beats, or by a supervisor that knows."""

from __future__ import annotations

import pytest

from sedano.contracts import Begin, Delivery, LeaseRecord, Standing
from sedano.exceptions import LeaseLost
from sedano.testing.contracts.harness import Slot, StoreUnderTest, race, tags, unique
from sedano.testing.contracts.messages import batch, outgoing, requeue, settlement, task_ids


class TakeOverContract:
    def test_given_a_dead_owner_when_taken_over_then_each_delivery_says_where_it_stood(self, store: StoreUnderTest) -> None:
        dead, reaper = store.slot("dead"), store.slot("reaper")
        dead.broker.publish(batch("q", "abc"))
        early, late, reserved = (
            dead.take("q", limit=1, early=True) + dead.take("q", limit=1, early=False) + dead.reserve("q", limit=1)
        )
        taken = {delivery.tag: delivery for delivery in reaper.take_over(dead)}
        assert set(taken) == {early.tag, late.tag, reserved.tag}
        assert taken[early.tag].standing is Standing.BEGUN_EARLY
        assert taken[late.tag].standing is Standing.BEGUN_LATE
        assert taken[reserved.tag].standing is Standing.RESERVED

    @pytest.mark.parametrize("early", [True, False])
    def test_given_a_taken_over_delivery_when_looked_at_then_it_is_what_the_dead_owner_had(
        self, store: StoreUnderTest, early: bool
    ) -> None:
        dead, reaper = store.slot("dead"), store.slot("reaper")
        dead.broker.publish([outgoing("q", "a", priority=6)])
        dead.settle(requeue(dead.take("q")[0]))
        (lost,) = dead.take("q", early=early)
        (taken,) = reaper.take_over(dead)
        assert (taken.tag, taken.queue, taken.raw, taken.message) == (lost.tag, "q", lost.raw, lost.message)
        assert (taken.priority, taken.redelivered, taken.deliveries) == (lost.priority, True, 1)

    def test_given_taken_over_deliveries_when_the_taker_works_on_them_then_they_are_its_own(
        self, store: StoreUnderTest
    ) -> None:
        dead, reaper, other = store.slot("dead"), store.slot("reaper"), store.slot("other")
        dead.broker.publish(batch("q", "abcdefg"))
        early_lost, early_unstarted = dead.take("q", limit=2, early=True)
        late_lost, late_unstarted = dead.take("q", limit=2)
        to_begin, to_release, to_drop = dead.reserve("q")
        assert len(reaper.take_over(dead)) == 7
        reply = reaper.turn(
            settle=[settlement(early_lost), requeue(late_lost), settlement(to_drop)], begin=[Begin(to_begin.tag, early=False)]
        )
        assert (reply.begun, reply.refused) == ([to_begin.tag], [])
        assert reaper.unbegin([early_unstarted, late_unstarted]) == 2
        assert reaper.release([to_release]) == 1
        deliveries = other.reserve("q")
        assert task_ids(deliveries) == ["f", "b", "d", "c"]
        assert [delivery.deliveries for delivery in deliveries] == [0, 0, 0, 1]
        assert reaper.record().held == 1

    def test_given_many_taken_over_calls_when_released_then_they_are_at_the_head_in_their_old_order(
        self, store: StoreUnderTest
    ) -> None:
        dead, reaper = store.slot("dead"), store.slot("reaper")
        dead.broker.publish(batch("q", "abcdef"))
        dead.reserve("q", limit=4)
        reaper.take_over(dead, limit=3)
        assert reaper.broker.release(reaper.lease, None) == 4
        assert task_ids(reaper.reserve("q")) == list("abcdef")

    def test_given_calls_of_two_dead_owners_when_released_together_then_the_one_reserved_first_is_the_first_again(
        self, store: StoreUnderTest
    ) -> None:
        one, two, reaper = store.slot("one"), store.slot("two"), store.slot("reaper")
        one.broker.publish(batch("q", "abcdef"))
        for slot in (one, two, one, two):
            slot.reserve("q", limit=1)
        reaper.take_over(two)
        reaper.take_over(one)
        assert reaper.broker.release(reaper.lease, None) == 4
        assert task_ids(reaper.reserve("q")) == list("abcdef")

    def test_given_an_owner_with_nothing_when_taken_over_then_its_lease_ends(self, store: StoreUnderTest) -> None:
        dead, reaper = store.slot("dead"), store.slot("reaper")
        record = dead.record()
        taken = reaper.broker.take_over(record, reaper.lease, limit=10)
        assert (taken.deliveries, taken.pendings, taken.more) == ([], [], False)
        assert reaper.broker.renew([dead.lease]) == [dead.lease]
        assert [record.owner for record in reaper.broker.leases()] == [reaper.lease.owner]

    def test_given_an_owner_that_was_taken_over_when_taken_again_then_there_is_nothing(self, store: StoreUnderTest) -> None:
        dead, reaper, second = store.slot("dead"), store.slot("reaper"), store.slot("second")
        dead.broker.publish(batch("q", "ab"))
        dead.reserve("q")
        record = dead.record()
        assert len(reaper.broker.take_over(record, reaper.lease, limit=10).deliveries) == 2
        for force in (False, True):
            again = second.broker.take_over(record, second.lease, limit=10, force=force)
            assert (again.deliveries, again.pendings, again.more) == ([], [], False)
        assert reaper.record().held == 2

    def test_given_a_taker_that_dies_too_when_it_is_taken_over_then_everything_goes_on(self, store: StoreUnderTest) -> None:
        dead, reaper, second = store.slot("dead"), store.slot("reaper"), store.slot("second")
        dead.broker.publish(batch("q", "ab"))
        dead.take("q", limit=1, early=True)
        dead.reserve("q")
        reaper.take_over(dead)
        assert [delivery.standing for delivery in second.take_over(reaper)] == [Standing.BEGUN_EARLY, Standing.RESERVED]


class TakeOverRefusedContract:
    def test_given_an_owner_that_has_beaten_since_when_taken_over_then_it_is_refused_and_the_owner_lives(
        self, store: StoreUnderTest
    ) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        seen = slot.record()
        slot.broker.renew([slot.lease])
        taken = reaper.broker.take_over(seen, reaper.lease, limit=10)
        assert (taken.deliveries, taken.pendings, taken.more) == ([], [], False)
        assert slot.settle(settlement(delivery)).refused == []

    def test_given_a_record_with_another_fence_when_taken_over_then_it_is_refused_and_the_owner_lives(
        self, store: StoreUnderTest
    ) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        seen = slot.record()
        other = LeaseRecord(seen.owner, seen.node, seen.fence + 1_000_000, seen.beats)
        assert reaper.broker.take_over(other, reaper.lease, limit=10).deliveries == []
        assert slot.settle(settlement(delivery)).refused == []

    def test_given_an_unknown_owner_when_taken_over_then_there_is_nothing(self, store: StoreUnderTest) -> None:
        reaper = store.slot("reaper")
        nobody = LeaseRecord("nobody", "celery@gone", 1, 1)
        assert reaper.broker.take_over(nobody, reaper.lease, limit=10).deliveries == []
        assert reaper.broker.take_over(nobody, reaper.lease, limit=10, force=True).deliveries == []

    def test_given_a_supervisor_that_knows_its_slot_is_dead_when_it_forces_then_old_beats_do_not_matter(
        self, store: StoreUnderTest
    ) -> None:
        slot, supervisor = store.slot(), store.slot("supervisor")
        slot.broker.publish(batch("q", "a"))
        slot.take("q")
        seen = slot.record()
        supervisor.broker.renew([slot.lease])
        taken = supervisor.broker.take_over(seen, supervisor.lease, limit=10, force=True)
        assert task_ids(taken.deliveries) == ["a"]
        with pytest.raises(LeaseLost):
            slot.turn()

    @pytest.mark.parametrize("force", [True, False])
    def test_given_a_taker_that_is_lost_itself_when_it_takes_over_then_it_is_told_and_nothing_is_taken(
        self, store: StoreUnderTest, force: bool
    ) -> None:
        slot, lost, reaper = store.slot(), store.slot("lost"), store.slot("reaper")
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        reaper.take_over(lost)
        with pytest.raises(LeaseLost, match=lost.lease.owner):
            lost.broker.take_over(slot.record(), lost.lease, limit=10, force=force)
        assert slot.settle(settlement(delivery)).refused == []


class TakeOverPagesContract:
    def test_given_more_than_the_limit_when_taken_over_in_pages_then_each_comes_once_and_the_lease_is_lost_at_once(
        self, store: StoreUnderTest
    ) -> None:
        dead, reaper = store.slot("dead"), store.slot("reaper")
        dead.broker.publish(batch("q", [f"call-{number}" for number in range(25)]))
        held = dead.take("q", limit=10, early=True) + dead.take("q", limit=8) + dead.reserve("q", limit=7)
        record = dead.record()
        first = reaper.broker.take_over(record, reaper.lease, limit=10)
        assert len(first.deliveries) == 10
        assert first.more
        with pytest.raises(LeaseLost):
            dead.turn(reserve=1, queues=["q"])
        with pytest.raises(LeaseLost):
            dead.unbegin(held)
        assert reaper.broker.renew([dead.lease]) == [dead.lease]
        pages = [first]
        while pages[-1].more:
            pages.append(reaper.broker.take_over(record, reaper.lease, limit=10))
        assert all(len(page.deliveries) <= 10 for page in pages)
        assert sorted(tags(delivery for page in pages for delivery in page.deliveries)) == sorted(tags(held))
        assert [record.owner for record in reaper.broker.leases()] == [reaper.lease.owner]

    def test_given_a_taker_that_dies_between_two_pages_when_others_go_on_then_nothing_is_lost(
        self, store: StoreUnderTest
    ) -> None:
        dead, taker, last = store.slot("dead"), store.slot("taker"), store.slot("last")
        dead.broker.publish(batch("q", "abcde"))
        dead.take("q", limit=3)
        dead.reserve("q")
        assert taker.broker.take_over(dead.record(), taker.lease, limit=2).more
        records = {record.owner: record for record in last.broker.leases()}
        assert (records[dead.lease.owner].held, records[taker.lease.owner].held) == (3, 2)
        assert sorted(task_ids(last.take_over(dead) + last.take_over(taker))) == list("abcde")
        assert last.record().held == 5


class TakeOverRacesContract:
    def test_given_two_reapers_when_they_take_the_same_owner_over_then_each_delivery_goes_to_one_of_them(
        self, store: StoreUnderTest
    ) -> None:
        for number in range(5):
            dead = store.slot("dead")
            names = [f"{number}:{call}" for call in range(20)]
            dead.broker.publish(batch("q", names))
            dead.reserve("q")
            record = dead.record()

            def reap(record: LeaseRecord = record) -> list[str]:
                reaper = _opened(store, "reaper")
                deliveries: list[Delivery] = []
                more = True
                while more:
                    taken = reaper.broker.take_over(record, reaper.lease, limit=3)
                    deliveries += taken.deliveries
                    more = taken.more
                assert reaper.record().held == len(deliveries)
                reaper.broker.close()
                return task_ids(deliveries)

            one, two, three = race(reap, reap, reap)
            assert sorted(one + two + three) == sorted(names)

    def test_given_an_owner_that_settles_while_it_is_taken_over_when_both_are_done_then_exactly_one_won(
        self, store: StoreUnderTest
    ) -> None:
        watcher = store.slot("watcher")
        for number in range(20):
            owner = store.slot("owner")
            owner.broker.publish(batch("q", [f"call-{number}"]))
            (delivery,) = owner.take("q", limit=1)
            record = owner.record()
            step = settlement(delivery, messages_out=(outgoing("out", f"next-{number}"),))

            def settle(lease: Slot = owner, step: object = step) -> bool:
                broker = store.driver.open_broker(store.url, store.options())
                try:
                    return broker.turn(lease.lease, settle=[step]).refused == []  # type: ignore[list-item]
                except LeaseLost:
                    return False
                finally:
                    broker.close()

            def reap(record: LeaseRecord = record) -> bool:
                reaper = _opened(store, "reaper")
                taken = reaper.broker.take_over(record, reaper.lease, limit=10)
                for each in taken.deliveries:
                    reaper.settle(settlement(each))
                reaper.broker.close()
                return bool(taken.deliveries)

            settled, reaped = race(settle, reap)
            assert settled != reaped
            assert task_ids(watcher.take("out")) == ([f"next-{number}"] if settled else [])
        assert watcher.depth("q").begun == 0


def _opened(store: StoreUnderTest, name: str) -> Slot:
    """A slot for a thread of its own, which closes its connection itself."""
    broker = store.driver.open_broker(store.url, store.options())
    return Slot(broker, broker.register(unique(name), "celery@test"))
