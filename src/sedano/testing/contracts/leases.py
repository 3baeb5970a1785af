"""Leases: register, renew, retire; and what a lost one may still do (nothing)."""

from __future__ import annotations

import pytest

from sedano.contracts import Begin, Delay, Lease, Standing
from sedano.exceptions import LeaseLost
from sedano.testing.contracts.harness import Slot, StoreUnderTest, unique
from sedano.testing.contracts.messages import batch, outgoing, settlement, task_ids


class LeaseContract:
    def test_given_a_registered_owner_when_leases_are_listed_then_its_record_is_there(self, store: StoreUnderTest) -> None:
        broker, other = store.broker(), store.broker()
        lease = broker.register("celery@web1:42:abc", "celery@web1")
        assert lease.owner == "celery@web1:42:abc"
        (record,) = other.leases()
        assert (record.owner, record.node, record.fence, record.held) == (lease.owner, "celery@web1", lease.fence, 0)

    def test_given_many_registrations_when_compared_then_no_fence_comes_twice(self, store: StoreUnderTest) -> None:
        one, two = store.broker(), store.broker()
        leases = [broker.register(unique("owner"), "celery@test") for broker in (one, two) * 10]
        assert len({lease.fence for lease in leases}) == 20
        assert {record.fence for record in one.leases()} == {lease.fence for lease in leases}

    def test_given_no_owner_when_leases_are_listed_then_there_are_none(self, store: StoreUnderTest) -> None:
        assert store.broker().leases() == []

    @pytest.mark.parametrize("name", ["ünï:1", "with space", "star*", "{a}:b", "x" * 500])
    def test_given_an_odd_owner_name_when_used_then_it_is_an_owner_like_any_other(
        self, store: StoreUnderTest, name: str
    ) -> None:
        broker = store.broker()
        slot = Slot(broker, broker.register(name, "celery@tëst"))
        broker.publish(batch("q", "ab"))
        (a,) = slot.take("q", limit=1)
        slot.settle(settlement(a))
        assert task_ids(slot.reserve("q")) == ["b"]
        assert (slot.record().owner, slot.record().node, slot.record().held) == (name, "celery@tëst", 1)
        assert broker.retire(slot.lease) == 1

    def test_given_several_leases_when_renewed_then_each_gets_one_beat_more(self, store: StoreUnderTest) -> None:
        one, two, third = store.slot(), store.slot(), store.slot()
        before = [slot.record().beats for slot in (one, two, third)]
        assert one.broker.renew([one.lease, two.lease]) == []
        assert one.broker.renew([two.lease]) == []
        assert [slot.record().beats for slot in (one, two, third)] == [before[0] + 1, before[1] + 2, before[2]]

    def test_given_work_but_no_renewal_when_beats_are_read_then_they_stand_still(self, store: StoreUnderTest) -> None:
        """Only a renewal shows life: a turn that a dead node's proxy repeats must not."""
        slot = store.slot()
        before = slot.record().beats
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        slot.settle(settlement(delivery))
        assert slot.record().beats == before

    def test_given_lost_and_unknown_leases_when_renewed_then_these_come_back_and_the_others_live(
        self, store: StoreUnderTest
    ) -> None:
        alive, lost, reaper = store.slot(), store.slot(), store.slot()
        reaper.take_over(lost)
        unknown = Lease("never-registered", 7)
        wrong = Lease(alive.lease.owner, alive.lease.fence + 1_000_000)
        before = alive.record().beats
        assert alive.broker.renew([unknown, alive.lease, lost.lease, wrong]) == [unknown, lost.lease, wrong]
        assert alive.record().beats == before + 1
        assert alive.broker.renew([]) == []

    def test_given_deliveries_in_hand_when_leases_are_listed_then_they_are_counted(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "abcd"))
        first, _, _ = slot.take("q", limit=1, early=True) + slot.take("q", limit=1) + slot.reserve("q", limit=1)
        assert slot.record().held == 3
        slot.settle(settlement(first))
        slot.broker.release(slot.lease, None)
        assert slot.record().held == 1

    def test_given_a_lease_when_used_from_another_connection_then_it_is_the_same_right(self, store: StoreUnderTest) -> None:
        """A supervisor renews its slots' leases and settles for them on its own connection."""
        slot, supervisor = store.slot(), store.broker()
        slot.broker.publish(batch("q", "ab"))
        (a, _) = slot.reserve("q")
        assert supervisor.renew([slot.lease]) == []
        assert supervisor.turn(slot.lease, begin=[Begin(a.tag, early=False)]).begun == [a.tag]
        assert slot.settle(settlement(a)).refused == []
        assert supervisor.release(slot.lease, None) == 1

    def test_given_a_connection_that_is_opened_anew_when_the_lease_is_used_then_it_still_holds(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "ab"))
        (a,) = slot.take("q", limit=1)
        slot.broker.reconnect()
        assert slot.settle(settlement(a)).refused == []
        assert task_ids(slot.reserve("q")) == ["b"]

    def test_given_a_closed_connection_when_leases_are_listed_then_the_lease_is_still_there(
        self, store: StoreUnderTest
    ) -> None:
        slot, other = store.slot(), store.broker()
        slot.broker.publish(batch("q", "ab"))
        slot.reserve("q")
        slot.broker.close()
        slot.broker.close()
        (record,) = other.leases()
        assert (record.owner, record.held) == (slot.lease.owner, 2)
        assert other.release(slot.lease, None) == 2


class RefencingContract:
    def test_given_a_lease_with_another_fence_when_used_then_everything_is_still_there(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "abc"))
        (begun,) = slot.take("q", limit=1)
        (reserved,) = slot.reserve("q", limit=1)
        slot.broker.reconnect()
        slot.lease = slot.broker.refence(slot.lease)
        reply = slot.turn(settle=[settlement(begun)], begin=[Begin(reserved.tag, early=False)], reserve=1, queues=["q"])
        assert (reply.refused, reply.begun, task_ids(reply.reserved)) == ([], [reserved.tag], ["c"])
        assert slot.broker.renew([slot.lease]) == []
        assert slot.record().held == 2

    def test_given_the_answer_was_lost_when_refenced_again_then_it_is_the_same_lease(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        lease = slot.broker.refence(slot.lease)
        assert slot.broker.refence(slot.lease) == lease
        assert slot.broker.refence(lease) == slot.broker.refence(lease)

    def test_given_what_was_sent_under_the_old_fence_when_it_arrives_late_then_it_is_refused_or_the_fence_is_the_old_one(
        self, store: StoreUnderTest
    ) -> None:
        slot, late = store.slot(), store.broker()
        slot.broker.publish(batch("q", "a"))
        lease = slot.broker.refence(slot.lease)
        if lease == slot.lease:
            return  # nothing comes late here: the calls of a process are over before it can ask for this
        with pytest.raises(LeaseLost):
            late.turn(slot.lease, reserve=1, queues=["q"])
        assert slot.depth("q").ready == 1

    def test_given_another_fence_when_renewed_under_the_one_before_then_it_is_kept(self, store: StoreUnderTest) -> None:
        slot, keeper, reaper = store.slot(), store.broker(), store.slot("reaper")
        lease = slot.broker.refence(slot.lease)
        beats = slot.record().beats
        assert keeper.renew([slot.lease]) == []
        assert slot.record().beats == beats + 1
        assert keeper.renew([lease]) == []
        reaper.broker.take_over(slot.record(), reaper.lease, limit=1)
        assert keeper.renew([slot.lease]) == [slot.lease]
        assert keeper.renew([lease]) == [lease]

    def test_given_a_lease_that_was_taken_over_when_refenced_then_it_is_lost(self, store: StoreUnderTest) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        slot.broker.publish(batch("q", "ab"))
        slot.take("q")
        lease = slot.broker.refence(slot.lease)
        reaper.broker.take_over(slot.record(), reaper.lease, limit=1)
        for each in (slot.lease, lease):
            with pytest.raises(LeaseLost):
                slot.broker.refence(each)


class RetiringContract:
    def test_given_reserved_calls_when_the_owner_retires_then_they_are_at_the_head_and_the_lease_is_gone(
        self, store: StoreUnderTest
    ) -> None:
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish([outgoing("q", "a", priority=3), *batch("q", "bcd")])
        (b,) = slot.take("q", limit=1)
        slot.reserve("q", limit=2)
        slot.settle(settlement(b))
        assert slot.broker.retire(slot.lease) == 2
        assert [record.owner for record in other.broker.leases()] == [other.lease.owner]
        deliveries = other.reserve("q")
        assert task_ids(deliveries) == ["c", "d", "a"]
        assert {delivery.deliveries for delivery in deliveries} == {0}

    def test_given_nothing_in_hand_when_the_owner_retires_then_only_the_lease_goes(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        assert slot.broker.retire(slot.lease) == 0
        assert slot.broker.leases() == []

    def test_given_begun_calls_when_the_owner_retires_then_they_and_the_lease_are_left_to_a_reaper(
        self, store: StoreUnderTest
    ) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        slot.broker.publish(batch("q", "abc"))
        slot.take("q", limit=1, early=True)
        slot.take("q", limit=1)
        slot.reserve("q")
        assert slot.broker.retire(slot.lease) == 1
        record = next(record for record in reaper.broker.leases() if record.owner == slot.lease.owner)
        assert record.held == 2
        taken = reaper.broker.take_over(record, reaper.lease, limit=100)
        assert [(task_ids([each]), each.standing) for each in taken.deliveries] == [
            (["a"], Standing.BEGUN_EARLY),
            (["b"], Standing.BEGUN_LATE),
        ]
        assert [record.owner for record in reaper.broker.leases()] == [reaper.lease.owner]


class LostLeaseContract:
    """Whoever lost the lease is told so by every operation, and nothing of the operation is applied."""

    def test_given_a_lease_that_was_taken_over_when_a_turn_is_tried_then_nothing_of_it_is_applied(
        self, store: StoreUnderTest
    ) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        slot.broker.publish(batch("q", "abcd"))
        (a,) = slot.take("q", limit=1, early=True)
        b, c = slot.reserve("q", limit=2)
        reaper.take_over(slot)
        with pytest.raises(LeaseLost, match=slot.lease.owner):
            slot.turn(
                settle=[settlement(a, messages_out=(outgoing("out", "x"),))],
                delay=[Delay(b.tag, store.now() + 60)],
                begin=[Begin(c.tag, early=True)],
                reserve=5,
                queues=["q"],
            )
        depth = reaper.depth("q")
        assert (depth.ready, depth.delayed, depth.reserved, depth.begun) == (1, 0, 2, 1)
        assert reaper.depth("out").ready == 0
        assert reaper.record().held == 3

    def test_given_a_lease_that_was_taken_over_when_anything_is_tried_then_the_lease_is_lost(
        self, store: StoreUnderTest
    ) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        slot.broker.publish(batch("q", "ab"))
        a, b = slot.take("q", limit=1) + slot.reserve("q", limit=1)
        reaper.take_over(slot)
        all_is_refused(slot, a.tag, b.tag)
        assert reaper.record().held == 2

    def test_given_a_retired_lease_when_anything_is_tried_then_the_lease_is_lost(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "ab"))
        a, b = slot.reserve("q")
        slot.broker.retire(slot.lease)
        all_is_refused(slot, a.tag, b.tag)
        assert slot.depth("q").ready == 2

    def test_given_a_lease_that_was_never_given_when_anything_is_tried_then_the_lease_is_lost(
        self, store: StoreUnderTest
    ) -> None:
        broker = store.broker()
        all_is_refused(Slot(broker, Lease("never-registered", 1)), "a", "b")

    def test_given_the_right_name_with_another_fence_when_anything_is_tried_then_the_lease_is_lost(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "ab"))
        a, b = slot.reserve("q")
        all_is_refused(Slot(slot.broker, Lease(slot.lease.owner, slot.lease.fence + 1_000_000)), a.tag, b.tag)
        assert slot.record().held == 2

    def test_given_a_lost_lease_when_registered_under_a_new_name_then_work_goes_on(self, store: StoreUnderTest) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        slot.broker.publish(batch("q", "ab"))
        slot.reserve("q", limit=1)
        reaper.take_over(slot)
        renewed = Slot(slot.broker, slot.broker.register(unique("slot"), "celery@test"))
        assert task_ids(renewed.reserve("q")) == ["b"]


def all_is_refused(slot: Slot, one: str, two: str) -> None:
    broker, lease = slot.broker, slot.lease
    for turn in ({}, {"begin": [Begin(one, early=True)]}, {"reserve": 1, "queues": ["q"]}, {"stored": ["key:0"]}):
        with pytest.raises(LeaseLost):
            slot.turn(**turn)
    for tags in ([one, two], None, []):
        with pytest.raises(LeaseLost):
            broker.release(lease, tags)
    with pytest.raises(LeaseLost):
        broker.unbegin(lease, [one])
    with pytest.raises(LeaseLost):
        broker.retire(lease)
    assert broker.renew([lease]) == [lease]
