"""The turn: settle, delay, begin, reserve, in this order; and giving back."""

from __future__ import annotations

import pytest

from sedano.contracts import Begin, Standing
from sedano.testing.contracts.harness import StoreUnderTest, race, unique
from sedano.testing.contracts.messages import batch, outgoing, requeue, settlement, task_ids


class ReservingContract:
    def test_given_an_empty_turn_when_taken_then_the_answer_is_empty(self, store: StoreUnderTest) -> None:
        reply = store.slot().turn()
        assert (reply.begun, reply.reserved, reply.refused, reply.chords, reply.more) == ([], [], [], [], False)

    def test_given_a_fresh_message_when_reserved_then_the_delivery_says_so(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.reserve("q")
        assert delivery.queue == "q"
        assert delivery.standing is Standing.RESERVED
        assert (delivery.redelivered, delivery.deliveries, delivery.unreadable) == (False, 0, "")

    def test_given_a_message_that_a_celery_worker_restored_when_reserved_then_the_delivery_says_redelivered(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        restored = outgoing("q", "a", redelivered=True)
        restored.message.properties["delivery_info"]["redelivered"] = True
        slot.broker.publish([restored])
        (delivery,) = slot.reserve("q")
        assert (delivery.redelivered, delivery.deliveries) == (True, 0)

    def test_given_more_than_asked_when_reserved_then_the_oldest_come_and_more_is_said(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "abc"))
        reply = slot.turn(reserve=2, queues=["q"])
        assert task_ids(reply.reserved) == ["a", "b"]
        assert reply.more
        reply = slot.turn(reserve=1, queues=["q"])
        assert task_ids(reply.reserved) == ["c"]
        assert not reply.more

    def test_given_more_in_the_second_queue_when_the_first_gave_enough_then_more_is_said(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish([outgoing("q1", "a"), outgoing("q2", "b", priority=9)])
        assert slot.turn(reserve=1, queues=["q1", "q2"]).more
        assert not slot.turn(reserve=1, queues=["q1", "q2"]).more

    def test_given_work_when_nothing_is_to_be_reserved_then_nothing_is(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        assert slot.turn(reserve=0, queues=["q"]).reserved == []
        assert slot.turn(reserve=5, queues=[]).reserved == []
        assert slot.depth("q").ready == 1

    def test_given_a_reserved_message_when_others_reserve_then_they_do_not_get_it(self, store: StoreUnderTest) -> None:
        one, two = store.slot("one"), store.slot("two")
        one.broker.publish(batch("q", "ab"))
        assert task_ids(one.reserve("q", limit=1)) == ["a"]
        assert task_ids(two.reserve("q")) == ["b"]
        assert one.reserve("q") == []

    def test_given_two_copies_of_one_message_when_reserved_then_they_have_different_tags(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        twin = outgoing("q", "a")
        slot.broker.publish([twin, twin])
        first, second = slot.reserve("q")
        assert first.tag != second.tag
        slot.settle(settlement(first))
        assert slot.begin([second]) == [second.tag]

    def test_given_four_connections_reserving_at_once_when_all_is_taken_then_each_message_was_given_once(
        self, store: StoreUnderTest
    ) -> None:
        names = [f"call-{number}" for number in range(200)]
        store.broker().publish(batch("q", names))

        def drain() -> list[str]:
            broker = store.driver.open_broker(store.url, store.options())
            lease = broker.register(unique("racer"), "celery@test")
            received: list[str] = []
            while page := broker.turn(lease, reserve=3, queues=["q"]).reserved:
                received += task_ids(page)
            broker.close()
            return received

        received = race(*[drain] * 4)
        assert sorted(name for part in received for name in part) == sorted(names)
        for part in received:
            assert part == sorted(part, key=names.index)


class BeginningContract:
    def test_given_reserved_calls_when_begun_then_they_are_reported_and_counted_as_begun(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "abc"))
        a, b, _ = slot.reserve("q")
        reply = slot.turn(begin=[Begin(a.tag, early=True), Begin(b.tag, early=False)])
        assert (reply.begun, reply.refused) == ([a.tag, b.tag], [])
        depth = slot.depth("q")
        assert (depth.begun, depth.reserved) == (2, 1)

    def test_given_a_begun_call_when_the_turn_is_repeated_then_it_is_reported_again(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "ab"))
        a, b = slot.reserve("q")
        order = [Begin(a.tag, early=True), Begin(b.tag, early=False)]
        assert slot.turn(begin=order).begun == [a.tag, b.tag]
        repeated = slot.turn(begin=order)
        assert (repeated.begun, repeated.refused) == ([a.tag, b.tag], [])
        assert slot.depth("q").begun == 2

    @pytest.mark.parametrize("early", [True, False])
    def test_given_a_begun_call_when_begun_again_the_other_way_then_it_stays_as_it_was_begun(
        self, store: StoreUnderTest, early: bool
    ) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q", early=early)
        assert slot.begin([delivery], early=not early) == [delivery.tag]
        (taken,) = reaper.take_over(slot)
        assert taken.standing is (Standing.BEGUN_EARLY if early else Standing.BEGUN_LATE)

    def test_given_a_tag_that_is_not_held_when_begun_then_it_is_refused_and_the_others_begin(
        self, store: StoreUnderTest
    ) -> None:
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish(batch("q", "abc"))
        (foreign,) = other.reserve("q", limit=1)
        released, mine = slot.reserve("q")
        slot.release([released])
        orders = [Begin(tag, early=True) for tag in ("no-such-tag", foreign.tag, released.tag, mine.tag)]
        reply = slot.turn(begin=orders)
        assert reply.begun == [mine.tag]
        assert reply.refused == ["no-such-tag", foreign.tag, released.tag]
        assert other.begin([foreign]) == [foreign.tag]

    def test_given_a_begun_call_when_others_reserve_then_they_do_not_get_it(self, store: StoreUnderTest) -> None:
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish(batch("q", "ab"))
        slot.take("q", limit=1, early=True)
        slot.take("q", limit=1, early=False)
        assert other.reserve("q") == []


class TurnOrderContract:
    def test_given_a_settlement_that_requeues_when_the_same_turn_reserves_then_it_comes_again(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        reply = slot.turn(settle=[requeue(delivery)], reserve=5, queues=["q"])
        assert task_ids(reply.reserved) == ["a"]
        assert reply.reserved[0].tag != delivery.tag

    def test_given_messages_out_when_the_same_turn_reserves_then_they_are_there(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        step = settlement(delivery, messages_out=(outgoing("q", "next"),))
        assert task_ids(slot.turn(settle=[step], reserve=5, queues=["q"]).reserved) == ["next"]

    def test_given_a_tag_that_is_settled_and_begun_in_one_turn_when_taken_then_the_begin_is_refused(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.reserve("q")
        reply = slot.turn(begin=[Begin(delivery.tag, early=False)], settle=[settlement(delivery)])
        assert (reply.begun, reply.refused) == ([], [delivery.tag])

    def test_given_the_three_parts_of_a_slots_turn_when_taken_then_all_are_done_in_one_step(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "abcd"))
        a, b, _ = slot.take("q", limit=1) + slot.reserve("q", limit=2)
        reply = slot.turn(settle=[settlement(a)], begin=[Begin(b.tag, early=False)], reserve=5, queues=["q"])
        assert (reply.begun, reply.refused, task_ids(reply.reserved)) == ([b.tag], [], ["d"])
        depth = slot.depth("q")
        assert (depth.ready, depth.reserved, depth.begun) == (0, 2, 1)

    def test_given_a_turn_whose_answer_was_lost_when_it_is_repeated_then_nothing_happens_twice(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "ab"))
        (a,) = slot.take("q", limit=1)
        (b,) = slot.reserve("q", limit=1)
        lost = {
            "settle": [settlement(a, messages_out=(outgoing("out", "once"),))],
            "begin": [Begin(b.tag, early=True)],
        }
        slot.turn(**lost)
        reply = slot.turn(**lost)
        assert (reply.begun, reply.refused) == ([b.tag], [a.tag])
        assert task_ids(slot.reserve("out")) == ["once"]


class ReleasingContract:
    def test_given_reserved_calls_when_released_then_they_are_at_the_head_uncounted_and_in_their_old_order(
        self, store: StoreUnderTest
    ) -> None:
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish(batch("q", "abcde"))
        a, b, c = slot.reserve("q", limit=3)
        assert slot.release([c, a, b]) == 3
        deliveries = other.reserve("q")
        assert task_ids(deliveries) == list("abcde")
        assert [(delivery.deliveries, delivery.redelivered) for delivery in deliveries] == [(0, False)] * 5
        assert [delivery.raw for delivery in deliveries[:3]] == [a.raw, b.raw, c.raw]

    def test_given_priorities_and_queues_when_released_then_each_returns_to_the_head_of_its_own(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(
            [outgoing("q1", "a", priority=3), outgoing("q2", "b"), outgoing("q1", "c", priority=3), outgoing("q1", "d")]
        )
        held = slot.reserve("q1", "q2", limit=3)
        assert task_ids(held) == ["d", "b", "a"]
        slot.broker.publish([outgoing("q1", "e"), outgoing("q2", "f")])
        assert slot.release(held) == 3
        assert task_ids(slot.reserve("q1")) == ["d", "e", "a", "c"]
        assert task_ids(slot.reserve("q2")) == ["b", "f"]

    def test_given_begun_foreign_and_unknown_tags_when_released_then_only_what_is_reserved_here_returns(
        self, store: StoreUnderTest
    ) -> None:
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish(batch("q", "abc"))
        (begun,) = slot.take("q", limit=1)
        (reserved,) = slot.reserve("q", limit=1)
        (foreign,) = other.reserve("q", limit=1)
        wanted = [begun.tag, reserved.tag, foreign.tag, "no-such-tag", reserved.tag]
        assert slot.broker.release(slot.lease, wanted) == 1
        assert task_ids(slot.reserve("q")) == ["b"]
        assert slot.settle(settlement(begun)).refused == []

    def test_given_no_tags_when_released_then_everything_reserved_returns_and_what_is_begun_stays(
        self, store: StoreUnderTest
    ) -> None:
        """The answer to a reserve was lost: the caller knows no tags."""
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish(batch("q", "abcd"))
        (begun,) = slot.take("q", limit=1)
        slot.turn(reserve=2, queues=["q"])
        assert slot.broker.release(slot.lease, None) == 2
        assert slot.broker.release(slot.lease, None) == 0
        assert task_ids(other.reserve("q")) == ["b", "c", "d"]
        assert slot.settle(settlement(begun)).refused == []

    def test_given_no_tag_at_all_when_released_then_nothing_happens(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        slot.reserve("q")
        assert slot.broker.release(slot.lease, []) == 0
        assert slot.depth("q").reserved == 1

    def test_given_a_released_call_when_its_old_tag_is_settled_then_it_is_refused(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.reserve("q")
        slot.release([delivery])
        assert slot.settle(settlement(delivery)).refused == [delivery.tag]
        assert task_ids(slot.reserve("q")) == ["a"]

    def test_given_a_hundred_releases_of_one_call_when_delivered_then_it_is_still_uncounted(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "ab"))
        for _ in range(100):
            assert slot.release(slot.reserve("q", limit=1)) == 1
        a, b = slot.reserve("q")
        assert task_ids([a, b]) == ["a", "b"]
        assert (a.deliveries, a.redelivered) == (0, False)


class UnbeginningContract:
    def test_given_begun_calls_when_unbegun_then_they_are_at_the_head_uncounted_and_ordinary_again(
        self, store: StoreUnderTest
    ) -> None:
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish(batch("q", "abcd"))
        early = slot.take("q", limit=1, early=True)
        late = slot.take("q", limit=2, early=False)
        assert slot.unbegin([*reversed(late), *early]) == 3
        deliveries = other.reserve("q")
        assert task_ids(deliveries) == list("abcd")
        assert [(delivery.deliveries, delivery.redelivered) for delivery in deliveries] == [(0, False)] * 4
        assert [delivery.standing for delivery in deliveries] == [Standing.RESERVED] * 4
        assert [delivery.raw for delivery in deliveries[:3]] == [delivery.raw for delivery in early + late]

    def test_given_an_unbegun_call_when_its_old_tag_is_used_then_it_is_refused(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q", early=True)
        slot.unbegin([delivery])
        reply = slot.turn(settle=[settlement(delivery)], begin=[Begin(delivery.tag, early=True)])
        assert reply.refused == [delivery.tag, delivery.tag]
        assert slot.depth("q").ready == 1

    def test_given_reserved_foreign_and_unknown_tags_when_unbegun_then_only_what_is_begun_here_returns(
        self, store: StoreUnderTest
    ) -> None:
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish(batch("q", "abc"))
        (begun,) = slot.take("q", limit=1)
        (reserved,) = slot.reserve("q", limit=1)
        (foreign,) = other.take("q", limit=1)
        assert slot.broker.unbegin(slot.lease, [reserved.tag, begun.tag, foreign.tag, "no-such-tag"]) == 1
        assert task_ids(slot.reserve("q")) == ["a"]
        assert slot.begin([reserved]) == [reserved.tag]
        assert other.settle(settlement(foreign)).refused == []

    def test_given_an_early_begun_call_that_was_unbegun_when_begun_late_by_another_then_it_is_late(
        self, store: StoreUnderTest
    ) -> None:
        slot, other, reaper = store.slot(), store.slot("other"), store.slot("reaper")
        slot.broker.publish(batch("q", "a"))
        slot.unbegin(slot.take("q", early=True))
        other.take("q", early=False)
        (taken,) = reaper.take_over(other)
        assert taken.standing is Standing.BEGUN_LATE

    def test_given_no_tag_when_unbegun_then_nothing_happens(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        held = slot.take("q")
        assert slot.unbegin([]) == 0
        assert slot.settle(settlement(held[0])).refused == []
