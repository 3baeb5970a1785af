"""Parked calls: kept by the name of a task that no worker knew, asked for by that name, back when their time is over."""

from __future__ import annotations

from sedano.contracts import Outcome, Outgoing, Parked
from sedano.testing.contracts.harness import Slot, StoreUnderTest, only_with
from sedano.testing.contracts.messages import batch, dead, message, outgoing, settlement, task_ids


@only_with("schedule")
class ParkingContract:
    def test_given_a_call_settled_into_parking_when_looked_for_then_it_stands_nowhere_else(self, store: StoreUnderTest) -> None:
        slot, until = store.slot(), store.now() + 600
        slot.broker.publish(batch("q", "ab"))
        a, b = slot.take("q")
        slot.settle(settlement(a, outcome=Outcome.UNKNOWN, messages_out=(parked("q", "a", "new.task", until),)))
        slot.settle(settlement(b, outcome=Outcome.UNKNOWN, messages_out=(parked("q", "b", "new.task", until + 1),)))
        assert slot.reserve("q") == []
        depth = slot.depth("q")
        assert (depth.ready, depth.delayed, depth.reserved, depth.begun, depth.dead, depth.parked) == (0, 0, 0, 0, 0, 2)
        assert slot.broker.parked(["q", "unknown"]) == [Parked("q", "new.task", 2, until)]
        assert slot.record().held == 0

    def test_given_parked_calls_when_a_name_is_asked_for_then_these_return_to_the_head(self, store: StoreUnderTest) -> None:
        slot, until = store.slot(), store.now() + 600
        park(slot, ("q", "late", "one", until + 5), ("q", "early", "one", until), ("q", "other", "two", until - 1))
        slot.broker.publish(batch("q", ["waiting"]))
        assert slot.broker.unpark({"three", "one"}, ["q"]) == 2
        assert slot.broker.unpark({"three", "one"}, ["q"]) == 0
        assert task_ids(slot.reserve("q")) == ["early", "late", "waiting"]
        assert slot.broker.parked(["q"]) == [Parked("q", "two", 1, until - 1)]

    def test_given_parked_calls_when_asked_for_then_only_those_of_the_named_queues_go(self, store: StoreUnderTest) -> None:
        slot, until = store.slot(), store.now() + 600
        park(slot, ("q1", "a", "new", until), ("q2", "b", "new", until), ("q:1", "c", "new", until))
        assert slot.broker.unpark(["new"], ["q2", "unknown"]) == 1
        assert slot.broker.unpark(["new"], []) == 0
        assert slot.broker.unpark([], ["q1"]) == 0
        assert task_ids(slot.reserve("q2")) == ["b"]
        assert [one.queue for one in slot.broker.parked(["q:1", "q2", "q1"])] == ["q:1", "q1"]

    def test_given_a_limit_when_asked_for_then_those_whose_time_ends_first_go_first(self, store: StoreUnderTest) -> None:
        slot, until = store.slot(), store.now() + 600
        park(slot, ("q1", "third", "x", until + 3), ("q2", "first", "y", until + 1), ("q1", "second", "y", until + 2))
        assert slot.broker.unpark(["x", "y"], ["q1", "q2"], limit=2) == 2
        assert (task_ids(slot.reserve("q1")), task_ids(slot.reserve("q2"))) == (["second"], ["first"])
        assert slot.broker.unpark(["x", "y"], ["q1", "q2"], limit=2) == 1

    def test_given_parked_calls_when_their_time_is_over_then_they_return_to_the_head_unchanged(
        self, store: StoreUnderTest
    ) -> None:
        slot, now = store.slot(), store.now()
        park(slot, ("q", "a", "new", now + 10), ("q", "b", "other", now + 20))
        slot.broker.publish([outgoing("q", "delayed", due=now + 5), outgoing("q", "waiting")])
        assert slot.broker.promote(["q"], now + 4) == (0, now + 5)
        assert slot.broker.promote(["q"], now + 10) == (2, now + 20)
        found = slot.reserve("q")
        assert task_ids(found) == ["a", "delayed", "waiting"]
        assert (found[0].deliveries, found[0].redelivered) == (0, False)
        assert slot.broker.promote(["q"], now + 20) == (1, None)
        assert slot.broker.parked(["q"]) == []
        assert slot.broker.promote(["q"], now + 1000) == (0, None)

    def test_given_a_limit_when_promoted_then_delayed_calls_come_first(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        park(slot, ("q", "a", "new", now + 1), ("q", "b", "new", now + 2))
        slot.broker.publish([outgoing("q", "delayed", due=now + 3)])
        assert slot.broker.promote(["q"], now + 10, limit=2) == (2, now + 2)
        assert task_ids(slot.reserve("q")) == ["a", "delayed"]

    def test_given_priorities_when_unparked_then_each_goes_to_the_head_of_its_own_step(self, store: StoreUnderTest) -> None:
        slot, until = store.slot(), store.now() + 600
        slot.broker.publish(
            [Outgoing(message("low"), "q", priority=9, due=until, parked="t"), outgoing("q", "low-waiting", priority=9)]
        )
        slot.broker.publish([Outgoing(message("high"), "q", priority=3, due=until, parked="t")])
        slot.broker.unpark(["t"], ["q"])
        assert task_ids(slot.reserve("q")) == ["high", "low", "low-waiting"]

    def test_given_names_that_no_key_likes_when_parked_then_they_are_kept_apart(self, store: StoreUnderTest) -> None:
        slot, until = store.slot(), store.now() + 600
        names = ["a:b", "zero\0byte\n", "größe", "'; DROP", "x" * 5000]
        park(slot, *(("q", f"call-{n}", name, until + n) for n, name in enumerate(names)))
        park(slot, ("q", "broken", "\ud800", until + 99))
        for n, name in enumerate(names):
            assert slot.broker.unpark([name], ["q"]) == 1
            assert task_ids(slot.reserve("q")) == [f"call-{n}"]
        assert slot.broker.promote(["q"], until + 99) == (1, None)

    def test_given_parked_calls_when_handed_back_then_they_follow_the_delayed_to_the_tail(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        park(slot, ("q", "b", "new", now + 20), ("q", "a", "other", now + 10))
        slot.broker.publish([outgoing("q", "waiting"), outgoing("q", "delayed", due=now + 500)])
        assert slot.broker.handback(["q"], limit=2) == 2
        assert slot.broker.handback(["q"]) == 1
        assert slot.broker.handback(["q"]) == 0
        assert task_ids(slot.reserve("q")) == ["waiting", "delayed", "a", "b"]
        assert slot.broker.parked(["q"]) == []

    def test_given_parked_calls_when_purged_or_their_owner_dies_then_they_stay(self, store: StoreUnderTest) -> None:
        dies, reaper, until = store.slot(), store.slot("reaper"), store.now() + 600
        park(dies, ("q", "a", "new", until))
        assert dies.broker.purge("q") == 0
        assert reaper.take_over(dies) == []
        assert reaper.broker.unpark(["new"], ["q"]) == 1
        assert task_ids(reaper.reserve("q")) == ["a"]

    def test_given_a_settlement_that_is_refused_when_it_parks_then_nothing_is_parked(self, store: StoreUnderTest) -> None:
        slot, until = store.slot(), store.now() + 600
        slot.broker.publish(batch("q", "a"))
        (a,) = slot.take("q")
        slot.settle(dead(a, store.now()))
        parks = settlement(a, outcome=Outcome.UNKNOWN, messages_out=(parked("q", "a", "new", until),))
        assert slot.turn(settle=[parks]).refused == [a.tag]
        assert slot.broker.parked(["q"]) == []

    def test_given_thousands_parked_when_unparked_page_by_page_then_all_come_once(self, store: StoreUnderTest) -> None:
        slot, until = store.slot(), store.now() + 600
        park(slot, *(("q", f"call-{n}", f"task-{n % 7}", until + n) for n in range(3000)))
        assert sum(one.count for one in slot.broker.parked(["q"])) == 3000
        received: list[str] = []
        while slot.broker.unpark([f"task-{n}" for n in range(7)], ["q"]):
            received += task_ids(slot.reserve("q", limit=1000))
        assert received == [f"call-{n}" for n in range(3000)]


def parked(queue: str, task_id: str, task: str, until: float) -> Outgoing:
    return Outgoing(message(task_id, queue=queue), queue, due=until, parked=task)


def park(slot: Slot, *calls: tuple[str, str, str, float]) -> None:
    """(queue, task id, task, until) of each."""
    slot.broker.publish([parked(*call) for call in calls])
