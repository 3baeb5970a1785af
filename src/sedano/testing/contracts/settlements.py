"""Settling: whole or not at all, once, and by the owner only."""

from __future__ import annotations

import pytest

from sedano.contracts import Delay, Fate, Outcome, Outgoing
from sedano.exceptions import OperationalError
from sedano.testing.contracts.harness import LONG_WAIT_S, Slot, StoreUnderTest, race, unique
from sedano.testing.contracts.messages import (
    batch,
    bound,
    chord_part,
    dead,
    outgoing,
    requeue,
    result,
    routed,
    settlement,
    task_ids,
)


class SettlingContract:
    @pytest.mark.parametrize("early", [True, False])
    def test_given_a_begun_call_when_it_is_acked_then_nothing_is_left_of_it(self, store: StoreUnderTest, early: bool) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q", early=early)
        assert slot.settle(settlement(delivery)).refused == []
        assert is_empty(slot, "q")
        assert slot.record().held == 0

    def test_given_a_call_that_was_only_reserved_when_it_is_acked_then_nothing_is_left_of_it(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.reserve("q")
        assert slot.settle(settlement(delivery, outcome=Outcome.EXPIRED)).refused == []
        assert is_empty(slot, "q")

    def test_given_records_of_other_calls_when_settled_then_they_are_stored_with_its_own(self, store: StoreUnderTest) -> None:
        slot, results = store.slot(), store.results()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        steps = (result("b", b"second"), result("c", b"third"))
        slot.settle(settlement(delivery, result=result("a", b"first"), more_results=steps))
        assert results.fetch(["a", "b", "c"]) == [b"first", b"second", b"third"]

    @pytest.mark.parametrize("early", [True, False])
    def test_given_a_call_when_it_is_requeued_then_it_is_at_the_tail_marked_and_counted(
        self, store: StoreUnderTest, early: bool
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "abc"))
        (a,) = slot.take("q", limit=1, early=early)
        slot.settle(requeue(a))
        deliveries = slot.reserve("q")
        assert task_ids(deliveries) == ["b", "c", "a"]
        again = deliveries[-1]
        assert (again.redelivered, again.deliveries) == (True, 1)
        assert again.message is not None
        assert a.message is not None
        assert again.message.headers["redelivered"] is True
        assert again.message.properties["delivery_info"]["redelivered"] is True
        assert again.message.body == a.message.body
        assert a.message.headers.items() <= again.message.headers.items()
        assert again.message.properties["correlation_id"] == "a"

    def test_given_a_call_that_was_only_reserved_when_it_is_requeued_then_it_is_counted_too(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        slot.settle(requeue(slot.reserve("q")[0]))
        (again,) = slot.reserve("q")
        assert (again.redelivered, again.deliveries) == (True, 1)

    def test_given_a_call_that_is_requeued_again_and_again_when_delivered_then_each_time_is_counted(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        for times in range(5):
            (delivery,) = slot.take("q")
            assert delivery.deliveries == times
            slot.settle(requeue(delivery))

    def test_given_a_counted_call_when_it_is_released_then_its_count_stays(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        slot.settle(requeue(slot.take("q")[0]))
        slot.release(slot.reserve("q"))
        slot.unbegin(slot.take("q", early=True))
        (delivery,) = slot.reserve("q")
        assert (delivery.redelivered, delivery.deliveries) == (True, 1)

    def test_given_a_priority_when_requeued_then_it_is_kept(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish([outgoing("q", "a", priority=3), outgoing("q", "b", priority=3), outgoing("q", "c", priority=6)])
        slot.settle(requeue(slot.take("q", limit=1)[0]))
        assert task_ids(slot.reserve("q")) == ["b", "a", "c"]

    def test_given_a_settled_call_when_settled_again_then_it_is_refused_and_nothing_of_it_applied(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        slot.settle(settlement(delivery))
        nothing = [
            settlement(delivery, messages_out=(outgoing("out", "x"),)),
            requeue(delivery),
            dead(delivery, store.now()),
        ]
        assert slot.settle(*nothing).refused == [delivery.tag] * 3
        assert is_empty(slot, "q")
        assert is_empty(slot, "out")

    def test_given_one_tag_twice_in_a_turn_when_settled_then_the_first_counts(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        first = settlement(delivery, messages_out=(outgoing("out", "first"),))
        second = settlement(delivery, messages_out=(outgoing("out", "second"),))
        assert slot.settle(first, second).refused == [delivery.tag]
        assert task_ids(slot.reserve("out")) == ["first"]

    def test_given_a_call_of_another_owner_when_settled_then_it_is_refused_and_the_owner_may_still_settle(
        self, store: StoreUnderTest
    ) -> None:
        slot, thief = store.slot(), store.slot("thief")
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        assert thief.settle(settlement(delivery, messages_out=(outgoing("out", "x"),))).refused == [delivery.tag]
        assert thief.turn(delay=[Delay(delivery.tag, store.now() + 60)]).refused == [delivery.tag]
        assert is_empty(slot, "out")
        assert slot.settle(settlement(delivery)).refused == []

    def test_given_good_and_refused_settlements_in_one_turn_when_settled_then_the_good_ones_count(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "abc"))
        a, b, c = slot.take("q")
        slot.settle(settlement(b))
        steps = [settlement(each, messages_out=(outgoing("out", name),)) for each, name in zip((a, b, c), "abc", strict=True)]
        assert slot.settle(*steps).refused == [b.tag]
        assert task_ids(slot.reserve("out")) == ["a", "c"]

    def test_given_five_hundred_calls_when_settled_in_one_turn_then_all_are_gone(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", [f"call-{number}" for number in range(500)]))
        deliveries = slot.take("q", limit=500)
        steps = [settlement(each, result=result(task_ids([each])[0])) for each in deliveries]
        assert slot.settle(*steps).refused == []
        assert is_empty(slot, "q")


class MessagesOutContract:
    def test_given_messages_out_when_settled_then_they_are_published_in_order(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        slot.settle(settlement(delivery, messages_out=(outgoing("q2", "x"), outgoing("q3", "y"), outgoing("q2", "z"))))
        assert task_ids(slot.reserve("q2", "q3")) == ["x", "z", "y"]

    def test_given_messages_out_with_priority_and_exchange_when_settled_then_both_count(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.declare([bound("bound", "x", "direct", "key")])
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        out = (routed("x", "direct", "key", "late", priority=9), outgoing("bound", "soon", priority=3))
        slot.settle(settlement(delivery, messages_out=out))
        assert task_ids(slot.reserve("bound")) == ["soon", "late"]

    def test_given_a_message_out_to_an_exchange_without_binding_when_settled_then_nothing_of_the_turn_is_applied(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "ab"))
        a, b = slot.take("q")
        bad = settlement(b, messages_out=(outgoing("out", "x"), routed("nowhere", "direct", "key", "y")))
        with pytest.raises(OperationalError):
            slot.settle(settlement(a), bad)
        assert slot.depth("q").begun == 2
        assert is_empty(slot, "out")
        assert slot.settle(settlement(a), settlement(b)).refused == []

    def test_given_a_large_message_out_when_settled_then_it_is_whole(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        body = b"x" * 5_000_000
        slot.settle(settlement(delivery, messages_out=(outgoing("out", "large", body=body),)))
        (large,) = slot.reserve("out")
        assert large.message is not None
        assert large.message.body == body

    def test_given_a_thousand_messages_out_when_settled_then_all_are_there(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        out: tuple[Outgoing, ...] = tuple(outgoing("out", f"call-{number}") for number in range(1000))
        slot.settle(settlement(delivery, messages_out=out))
        assert task_ids(slot.reserve("out", limit=2000)) == [f"call-{number}" for number in range(1000)]


class SharedResultsContract:
    """Settling writes results and chord parts itself, where broker and results are one store."""

    def test_given_one_store_when_asked_then_the_driver_says_it_is_shared(self, store: StoreUnderTest) -> None:
        assert store.driver.shares_store(store.url, store.url)
        assert store.broker().capabilities.shared_results
        assert not store.broker(writes_results=False).capabilities.shared_results

    def test_given_a_result_when_settled_then_it_can_be_read_and_streams_hear_of_it(self, store: StoreUnderTest) -> None:
        slot, results = store.slot(), store.results()
        stream = store.closing(results.subscribe())
        stream.watch(["a"])
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        written = result("a", b"the record")
        slot.settle(settlement(delivery, result=written))
        assert results.fetch(["a"]) == [b"the record"]
        assert stream.wait(LONG_WAIT_S) in ([("a", b"the record")], [("a", None)])

    def test_given_a_refused_settlement_when_its_result_is_asked_for_then_it_was_not_written(
        self, store: StoreUnderTest
    ) -> None:
        slot, results = store.slot(), store.results()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q")
        slot.settle(settlement(delivery, result=result("a", b"first")))
        late = settlement(delivery, result=result("a", b"second"), chord_part=chord_part("g", 0))
        assert slot.settle(late).refused == [delivery.tag]
        assert results.fetch(["a"]) == [b"first"]
        assert results.chord_parts("g") == []

    def test_given_a_requeue_or_a_dead_letter_with_a_result_when_settled_then_the_result_is_written_too(
        self, store: StoreUnderTest
    ) -> None:
        slot, results = store.slot(), store.results()
        slot.broker.publish(batch("q", "ab"))
        a, b = slot.take("q")
        lost = settlement(a, outcome=Outcome.LOST, fate=Fate.REQUEUE, result=result("a", b"lost"))
        buried = dead(b, store.now())
        slot.settle(lost)
        slot.settle(settlement(b, outcome=Outcome.FAILURE, fate=Fate.DEAD, dead=buried.dead, result=result("b", b"failed")))
        assert results.fetch(["a", "b"]) == [b"lost", b"failed"]
        assert slot.depth("q").dead == 1

    def test_given_a_chord_when_its_last_part_is_settled_then_this_very_turn_has_the_claim(self, store: StoreUnderTest) -> None:
        slot, results = store.slot(), store.results()
        slot.broker.publish(batch("q", "abc"))
        deliveries = slot.take("q")
        assert results.start_chord("group", 3, 3600.0) is None
        claims = [
            slot.settle(settlement(each, chord_part=chord_part("group", index))).chords for index, each in enumerate(deliveries)
        ]
        assert [[claim.group_id for claim in part] for part in claims] == [[], [], ["group"]]
        assert results.chord_parts("group") == [chord_part("group", index).payload for index in range(3)]

    def test_given_several_parts_in_one_turn_when_settled_then_each_complete_chord_is_claimed_once(
        self, store: StoreUnderTest
    ) -> None:
        slot, results = store.slot(), store.results()
        slot.broker.publish(batch("q", "abcd"))
        results.start_chord("g1", 2, 3600.0)
        results.start_chord("g2", 2, 3600.0)
        parts = [chord_part("g1", 0), chord_part("g2", 0), chord_part("g2", 1), chord_part("g1", 1)]
        steps = [settlement(each, chord_part=part) for each, part in zip(slot.take("q"), parts, strict=True)]
        assert [claim.group_id for claim in slot.settle(*steps).chords] == ["g2", "g1"]

    def test_given_slots_finishing_a_chord_at_once_when_settled_then_exactly_one_has_the_claim(
        self, store: StoreUnderTest
    ) -> None:
        results, producer = store.results(), store.broker()
        for number in range(5):
            group = f"group-{number}"
            results.start_chord(group, 4, 3600.0)
            producer.publish(batch(f"q{number}", "abcd"))

            def finish(index: int, queue: str = f"q{number}", group: str = group) -> int:
                broker = store.driver.open_broker(store.url, store.options())
                slot = Slot(broker, broker.register(unique("slot"), "celery@test"))
                (delivery,) = slot.take(queue, limit=1)
                chords = slot.settle(settlement(delivery, chord_part=chord_part(group, index))).chords
                broker.close()
                return len(chords)

            assert sum(race(*(lambda index=index: finish(index) for index in range(4)))) == 1


def is_empty(slot: Slot, queue: str) -> bool:
    depth = slot.depth(queue)
    return (depth.ready, depth.delayed, depth.reserved, depth.begun, depth.dead) == (0, 0, 0, 0, 0)
