"""Delayed calls: into the schedule, back to the head of their queue when due, and handed back on demand."""

from __future__ import annotations

from sedano.contracts import Delay, Outcome
from sedano.testing.contracts.harness import Slot, StoreUnderTest, only_with
from sedano.testing.contracts.messages import batch, dead, outgoing, requeue, settlement, task_ids


@only_with("schedule")
class ScheduleContract:
    def test_given_a_reserved_call_when_delayed_then_it_waits_in_the_schedule_and_nobody_gets_it(
        self, store: StoreUnderTest
    ) -> None:
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish(batch("q", "ab"))
        (a,) = slot.reserve("q", limit=1)
        reply = slot.turn(delay=[Delay(a.tag, store.now() + 60)], reserve=5, queues=["q"])
        assert (reply.refused, task_ids(reply.reserved)) == ([], ["b"])
        assert other.reserve("q") == []
        depth = slot.depth("q")
        assert (depth.ready, depth.delayed, depth.reserved) == (0, 1, 1)
        assert slot.record().held == 1

    def test_given_delayed_calls_when_promoted_then_those_that_are_due_return_and_no_others(
        self, store: StoreUnderTest
    ) -> None:
        slot, now = store.slot(), store.now()
        delay_all(slot, "q", {"a": now + 10, "b": now + 20, "c": now + 30.5})
        assert slot.broker.promote(["q"], now + 9.9) == (0, now + 10)
        assert slot.broker.promote(["q"], now + 20) == (2, now + 30.5)
        assert task_ids(slot.reserve("q")) == ["a", "b"]
        assert slot.broker.promote(["q"], now + 30.5) == (1, None)
        assert slot.broker.promote(["q"], now + 1000) == (0, None)
        assert task_ids(slot.reserve("q")) == ["c"]

    def test_given_due_calls_and_waiting_ones_when_promoted_then_the_due_go_first_and_the_earliest_before_all(
        self, store: StoreUnderTest
    ) -> None:
        slot, now = store.slot(), store.now()
        delay_all(slot, "q", {"second": now + 2, "first": now + 1, "third": now + 3})
        slot.broker.publish(batch("q", ["waiting"]))
        assert slot.broker.promote(["q"], now + 60)[0] == 3
        assert task_ids(slot.reserve("q")) == ["first", "second", "third", "waiting"]

    def test_given_priorities_when_promoted_then_each_goes_to_the_head_of_its_own_step(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        slot.broker.publish([outgoing("q", "low", priority=9), outgoing("q", "high", priority=3)])
        high, low = slot.reserve("q")
        slot.turn(delay=[Delay(low.tag, now + 1), Delay(high.tag, now + 2)])
        slot.broker.publish([outgoing("q", "low-waiting", priority=9), outgoing("q", "high-waiting", priority=3)])
        slot.broker.promote(["q"], now + 60)
        assert task_ids(slot.reserve("q")) == ["high", "high-waiting", "low", "low-waiting"]

    def test_given_a_promoted_call_when_delivered_then_it_is_unchanged_and_uncounted(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        slot.broker.publish([outgoing("q", "a", eta="2030-01-01T00:00:00+00:00")])
        (before,) = slot.reserve("q")
        slot.turn(delay=[Delay(before.tag, now + 1)])
        slot.broker.promote(["q"], now + 1)
        (after,) = slot.reserve("q")
        assert (after.raw, after.deliveries, after.redelivered) == (before.raw, 0, False)

    def test_given_a_redelivered_call_when_delayed_and_promoted_then_its_count_stays(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        slot.broker.publish(batch("q", "a"))
        slot.settle(requeue(slot.take("q")[0]))
        slot.turn(delay=[Delay(slot.reserve("q")[0].tag, now)])
        slot.broker.promote(["q"], now)
        assert slot.reserve("q")[0].deliveries == 1

    def test_given_a_limit_when_promoted_then_the_earliest_go_and_the_next_due_is_told(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        delay_all(slot, "q", {"a": now + 1, "b": now + 2, "c": now + 3})
        assert slot.broker.promote(["q"], now + 60, limit=2) == (2, now + 3)
        assert task_ids(slot.reserve("q")) == ["a", "b"]

    def test_given_a_limit_and_several_queues_when_promoted_then_the_earliest_of_all_go(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        delay_all(slot, "q1", {"a": now + 1, "c": now + 3})
        delay_all(slot, "q2", {"b": now + 2, "d": now + 4})
        assert slot.broker.promote(["q1", "q2"], now + 60, limit=3) == (3, now + 4)
        assert (task_ids(slot.reserve("q1")), task_ids(slot.reserve("q2"))) == (["a", "c"], ["b"])

    def test_given_several_queues_when_some_are_promoted_then_the_others_stay(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        delay_all(slot, "q1", {"a": now + 1})
        delay_all(slot, "q2", {"b": now + 2})
        delay_all(slot, "q3", {"c": now + 50})
        assert slot.broker.promote(["q3", "unknown"], now + 10) == (0, now + 50)
        assert slot.broker.promote(["q1", "q3"], now + 10) == (1, now + 50)
        assert slot.broker.promote([], now + 10) == (0, None)
        assert slot.broker.promote(["q3", "q2"], now - 10) == (0, now + 2)
        assert slot.broker.promote(["q2", "q3"], now - 10) == (0, now + 2)
        assert [slot.depth(queue).delayed for queue in ("q1", "q2", "q3")] == [0, 1, 1]

    def test_given_a_wall_clock_that_jumps_when_promoted_then_only_the_given_time_counts(self, store: StoreUnderTest) -> None:
        """`now` is the caller's; set back, nothing is due, set forward, everything is, and nothing is lost in between."""
        slot, now = store.slot(), store.now()
        delay_all(slot, "q", {"a": now + 10, "b": now + 100_000})
        assert slot.broker.promote(["q"], now - 1_000_000) == (0, now + 10)
        assert slot.broker.promote(["q"], now + 11) == (1, now + 100_000)
        assert slot.broker.promote(["q"], now) == (0, now + 100_000)
        assert slot.broker.promote(["q"], now + 10_000_000) == (1, None)
        assert sorted(task_ids(slot.reserve("q"))) == ["a", "b"]

    def test_given_a_due_time_in_the_past_when_delayed_then_the_next_promotion_brings_it(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        delay_all(slot, "q", {"a": now - 1_000_000, "b": 0.0})
        assert slot.reserve("q") == []
        assert slot.broker.promote(["q"], now) == (2, None)

    def test_given_a_foreign_or_unknown_tag_when_delayed_then_it_is_refused_and_what_is_begun_is_not(
        self, store: StoreUnderTest
    ) -> None:
        slot, other, due = store.slot(), store.slot("other"), store.now() + 60
        slot.broker.publish(batch("q", "abc"))
        (begun,) = slot.take("q", limit=1)
        (foreign,) = other.reserve("q", limit=1)
        (mine,) = slot.reserve("q", limit=1)
        orders = [Delay(tag, due) for tag in (begun.tag, foreign.tag, "no-such-tag", mine.tag)]
        assert slot.turn(delay=orders).refused == [foreign.tag, "no-such-tag"]
        depth = slot.depth("q")
        assert (depth.delayed, depth.reserved, depth.begun) == (2, 1, 0)
        assert slot.turn(delay=[Delay(mine.tag, due)]).refused == [mine.tag]

    def test_given_an_owner_that_dies_or_retires_when_it_had_delayed_calls_then_they_stay_in_the_schedule(
        self, store: StoreUnderTest
    ) -> None:
        dies, retires, reaper, now = store.slot(), store.slot(), store.slot("reaper"), store.now()
        delay_all(dies, "q", {"a": now + 10})
        delay_all(retires, "q", {"b": now + 20})
        retires.broker.retire(retires.lease)
        assert reaper.take_over(dies) == []
        assert reaper.broker.promote(["q"], now + 60) == (2, None)
        assert task_ids(reaper.reserve("q")) == ["a", "b"]

    def test_given_a_message_published_with_a_due_time_when_it_is_due_then_it_enters_its_queue(
        self, store: StoreUnderTest
    ) -> None:
        slot, due = store.slot(), store.now() + 0.25
        slot.broker.publish([outgoing("q", "later", due=due, priority=5), outgoing("q", "now")])
        assert task_ids(slot.reserve("q")) == ["now"]
        assert "q" in slot.broker.queues()
        assert slot.broker.promote(["q"], due) == (1, None)
        assert task_ids(slot.reserve("q")) == ["later"]

    def test_given_a_retry_with_a_due_time_when_settled_then_it_waits_in_the_schedule(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        due = store.now() + 30
        slot.settle(settlement(delivery, outcome=Outcome.RETRY, messages_out=(outgoing("q", "a", due=due, retries=1),)))
        assert slot.reserve("q") == []
        assert slot.depth("q").delayed == 1
        assert slot.broker.promote(["q"], due) == (1, None)
        (again,) = slot.reserve("q")
        assert again.message is not None
        assert again.message.headers["retries"] == 1

    def test_given_delayed_calls_when_the_queue_is_purged_then_they_stay(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        delay_all(slot, "q", {"a": now + 10})
        slot.broker.publish(batch("q", "b"))
        assert slot.broker.purge("q") == 1
        assert slot.broker.promote(["q"], now + 10) == (1, None)

    def test_given_ten_thousand_delayed_calls_when_promoted_page_by_page_then_all_come_once(
        self, store: StoreUnderTest
    ) -> None:
        slot, now = store.slot(), store.now()
        slot.broker.publish([outgoing("q", f"call-{n}", due=now + n % 97) for n in range(10_000)])
        assert slot.depth("q").delayed == 10_000
        moved = 0
        while moved < 10_000:
            count, next_due = slot.broker.promote(["q"], now + 100)
            assert 0 < count <= 1000
            moved += count
            assert (next_due is None) == (moved == 10_000)
        received: set[str] = set()
        while page := slot.reserve("q", limit=1000):
            received.update(task_ids(page))
        assert len(received) == 10_000


@only_with("schedule")
class HandbackContract:
    def test_given_delayed_calls_when_handed_back_then_they_are_in_their_queues_as_they_were_published(
        self, store: StoreUnderTest
    ) -> None:
        slot, now = store.slot(), store.now()
        eta = "2030-01-01T00:00:00+00:00"
        slot.broker.publish([outgoing("q", "a", eta=eta), outgoing("q", "b", priority=3, eta=eta)])
        before = {task_ids([delivery])[0]: delivery for delivery in slot.reserve("q")}
        slot.turn(delay=[Delay(delivery.tag, now + 1000) for delivery in before.values()])
        assert slot.broker.handback(["q"]) == 2
        assert slot.broker.handback(["q"]) == 0
        for delivery in slot.reserve("q"):
            (name,) = task_ids([delivery])
            assert delivery.message is not None
            assert delivery.message.headers["eta"] == eta
            assert (delivery.raw, delivery.deliveries) == (before[name].raw, 0)
        assert slot.broker.promote(["q"], now + 2000) == (0, None)

    def test_given_more_than_the_limit_and_other_queues_when_handed_back_then_only_so_many_of_these_go(
        self, store: StoreUnderTest
    ) -> None:
        slot, now = store.slot(), store.now()
        delay_all(slot, "q1", {"a": now + 1, "b": now + 2, "c": now + 3})
        delay_all(slot, "q2", {"d": now + 1})
        assert slot.broker.handback(["q1", "unknown"], limit=2) == 2
        assert slot.broker.handback([]) == 0
        assert (slot.depth("q1").ready, slot.depth("q1").delayed, slot.depth("q2").delayed) == (2, 1, 1)
        assert slot.broker.handback(["q1", "q2"], limit=10) == 2
        assert (slot.depth("q1").ready, slot.depth("q2").ready) == (3, 1)

    def test_given_waiting_calls_when_others_are_handed_back_then_these_go_to_the_tail_the_earliest_first(
        self, store: StoreUnderTest
    ) -> None:
        """What is not due must not stand before what is."""
        slot, now = store.slot(), store.now()
        delay_all(slot, "q", {"b": now + 2000, "a": now + 1000})
        slot.broker.publish(batch("q", ["waiting"]))
        slot.broker.handback(["q"])
        assert task_ids(slot.reserve("q")) == ["waiting", "a", "b"]

    def test_given_dead_letters_when_handed_back_then_they_stay_dead(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        slot.settle(dead(slot.take("q")[0], store.now()))
        assert slot.broker.handback(["q"]) == 0
        assert slot.depth("q").dead == 1


def delay_all(slot: Slot, queue: str, dues: dict[str, float]) -> None:
    """Publish a call for each name and delay it, as an intake does with calls that are not due."""
    slot.broker.publish(batch(queue, dues))
    orders = [Delay(delivery.tag, dues[task_ids([delivery])[0]]) for delivery in slot.reserve(queue, limit=len(dues))]
    assert slot.turn(delay=orders).refused == []
