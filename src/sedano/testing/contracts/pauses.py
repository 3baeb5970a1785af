"""Paused queues: nothing is reserved or begun of them, whoever asks; everything else goes on."""

from __future__ import annotations

import time

import pytest

from sedano.contracts import Begin, BeginRule, Delay, Pause, Standing
from sedano.testing.contracts.harness import LONG_WAIT_S, PROMPT_S, StoreUnderTest, only_with, tags
from sedano.testing.contracts.messages import batch, outgoing, requeue, settlement, task_ids
from sedano.testing.contracts.waking import meanwhile, next_of, publishing

RULE = BeginRule(early=True, costs={"tests.add": 1}, budget_us=1000, most=100)


class PauseContract:
    def test_given_a_fresh_store_when_asked_then_nothing_is_paused(self, store: StoreUnderTest) -> None:
        assert store.coordination().pauses() == []
        assert store.slot().turn().paused == frozenset()

    def test_given_pauses_when_read_by_another_connection_then_they_are_there_as_given(self, store: StoreUnderTest) -> None:
        given = [Pause("b", 2.5, "the mail server is down", "alice@web1"), Pause("a", 1.0), Pause("ünï code*:", 3.0, "ü")]
        store.coordination().pause(given)
        assert store.coordination().pauses() == sorted(given, key=lambda pause: pause.queue)

    def test_given_a_pause_when_ordered_again_then_the_later_order_stands_alone(self, store: StoreUnderTest) -> None:
        coordination = store.coordination()
        coordination.pause([Pause("q", 1.0, "first")])
        coordination.pause([Pause("q", 2.0, "second")])
        assert coordination.pauses() == [Pause("q", 2.0, "second")]

    def test_given_pauses_when_resumed_then_those_that_were_paused_are_named_once(self, store: StoreUnderTest) -> None:
        coordination, other = store.coordination(), store.coordination()
        coordination.pause([Pause("a", 1.0), Pause("b", 1.0), Pause("c", 1.0)])
        assert other.resume(["c", "never", "a"]) == ["c", "a"]
        assert other.resume(["c", "a"]) == []
        assert coordination.pauses() == [Pause("b", 1.0)]
        assert coordination.resume(["b"]) == ["b"]
        assert coordination.pauses() == []

    def test_given_nothing_when_paused_or_resumed_then_nothing_happens(self, store: StoreUnderTest) -> None:
        coordination = store.coordination()
        coordination.pause([])
        assert coordination.resume([]) == []
        assert coordination.pauses() == []

    def test_given_a_connection_opened_anew_when_asked_then_the_pauses_are_still_there(self, store: StoreUnderTest) -> None:
        coordination = store.coordination()
        coordination.pause([Pause("q", 1.0)])
        coordination.reconnect()
        assert coordination.pauses() == [Pause("q", 1.0)]

    @pytest.mark.parametrize("rule", [None, RULE], ids=["reserve", "begin new"])
    def test_given_a_paused_queue_when_slots_reserve_then_only_others_are_taken(
        self, store: StoreUnderTest, rule: BeginRule | None
    ) -> None:
        slot, coordination = store.slot(), store.coordination()
        slot.broker.publish([*batch("q1", "ab"), *batch("q2", "cd")])
        coordination.pause([Pause("q1", 1.0), Pause("unknown", 1.0)])
        reply = slot.turn(reserve=10, queues=["q1", "q2"], begin_new=rule)
        assert task_ids(reply.reserved) == ["c", "d"]
        assert reply.paused == {"q1", "unknown"}
        assert not reply.more
        reply = slot.turn(reserve=10, queues=["q1"], begin_new=rule)
        assert (reply.reserved, reply.more) == ([], False)
        assert [(depth.ready, depth.paused) for depth in slot.broker.depth(["q1", "q2"])] == [(2, True), (0, False)]
        coordination.resume(["q1"])
        reply = slot.turn(reserve=10, queues=["q1", "q2"], begin_new=rule)
        assert task_ids(reply.reserved) == ["a", "b"]
        assert reply.paused == {"unknown"}

    def test_given_a_paused_queue_when_the_last_of_another_is_taken_then_there_is_no_more(self, store: StoreUnderTest) -> None:
        slot, coordination = store.slot(), store.coordination()
        slot.broker.publish([outgoing("q1", "a", priority=priority) for priority in (0, 3, 9)])
        slot.broker.publish([outgoing("q2", f"b{priority}", priority=priority) for priority in (0, 3, 9)])
        coordination.pause([Pause("q1", 1.0)])
        for names in (["q1", "q2"], ["q2", "q1"]):
            reply = slot.turn(reserve=1, queues=names)
            assert (task_ids(reply.reserved)[0][0], reply.more) == ("b", True)
        reply = slot.turn(reserve=1, queues=["q1", "q2"])
        assert (task_ids(reply.reserved), reply.more) == (["b9"], False)

    @pytest.mark.parametrize("early", [True, False])
    def test_given_a_reservation_when_its_queue_is_paused_then_it_is_not_begun_and_can_be_given_back(
        self, store: StoreUnderTest, early: bool
    ) -> None:
        slot = store.slot()
        slot.broker.publish([*batch("q1", "ab"), *batch("q2", "c")])
        a, b, c = slot.reserve("q1", "q2")
        store.coordination().pause([Pause("q1", 1.0)])
        reply = slot.turn(begin=[Begin(each.tag, early) for each in (a, b, c)])
        assert (reply.begun, reply.refused) == ([c.tag], [])
        assert reply.paused == {"q1"}
        assert (slot.depth("q1").reserved, slot.depth("q1").begun) == (2, 0)
        assert slot.release([a, b, c]) == 2
        assert slot.depth("q1").ready == 2
        store.coordination().resume(["q1"])
        assert task_ids(slot.reserve("q1")) == ["a", "b"]

    def test_given_calls_that_are_begun_when_their_queue_is_paused_then_they_are_finished_as_ever(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "abcd"))
        a, b, c, d = slot.take("q", early=True)
        store.coordination().pause([Pause("q", 1.0)])
        assert slot.begin([a, b]) == tags([a, b])  # the answer to the first was lost
        assert slot.settle(settlement(a), requeue(b)).refused == []
        assert slot.unbegin([c, d]) == 2
        assert slot.depth("q").ready == 3
        store.coordination().resume(["q"])
        assert task_ids(slot.reserve("q")) == ["c", "d", "b"]

    def test_given_a_paused_queue_when_its_holder_is_dead_then_what_it_held_is_taken_over_and_given_back(
        self, store: StoreUnderTest
    ) -> None:
        dead, reaper = store.slot("dead"), store.slot("reaper")
        dead.broker.publish(batch("q", "abc"))
        (begun,) = dead.take("q", limit=1)
        dead.reserve("q", limit=1)
        store.coordination().pause([Pause("q", 1.0)])
        taken = reaper.take_over(dead)
        assert [each.standing for each in taken] == [Standing.BEGUN_LATE, Standing.RESERVED]
        assert reaper.settle(requeue(begun)).refused == []
        assert reaper.release(taken[1:]) == 1
        assert reaper.reserve("q") == []
        store.coordination().resume(["q"])
        assert task_ids(reaper.reserve("q")) == ["b", "c", "a"]

    def test_given_a_paused_queue_when_it_is_filled_purged_or_counted_then_that_goes_on(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        store.coordination().pause([Pause("q", 1.0)])
        slot.broker.publish(batch("q", "abc"))
        assert slot.depth("q").ready == 3
        assert slot.broker.purge("q") == 3
        assert store.coordination().pauses() == [Pause("q", 1.0)]


@only_with("schedule")
class PauseScheduleContract:
    def test_given_delayed_calls_of_a_paused_queue_when_due_then_they_wait_at_its_head(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        store.coordination().pause([Pause("q", 1.0)])
        slot.broker.publish([*batch("q", ["waiting"]), outgoing("q", "delayed", due=now + 10)])
        assert slot.broker.promote(["q"], now + 10) == (1, None)
        assert slot.reserve("q") == []
        store.coordination().resume(["q"])
        assert task_ids(slot.reserve("q")) == ["delayed", "waiting"]

    def test_given_a_delivery_that_is_not_due_when_its_queue_is_paused_then_it_may_still_be_delayed(
        self, store: StoreUnderTest
    ) -> None:
        slot, now = store.slot(), store.now()
        slot.broker.publish(batch("q", "a"))
        (a,) = slot.reserve("q")
        store.coordination().pause([Pause("q", 1.0)])
        assert slot.turn(delay=[Delay(a.tag, now + 10)]).refused == []
        assert slot.depth("q").delayed == 1


class PauseWakingContract:
    def test_given_a_slot_that_sleeps_over_a_paused_queue_when_it_is_resumed_then_it_has_the_call_at_once(
        self, store: StoreUnderTest
    ) -> None:
        slot, coordination = store.slot(), store.coordination()
        for number in range(3):
            coordination.pause([Pause("q", 1.0)])
            slot.broker.publish(batch("q", [f"call-{number}"]))
            assert slot.reserve("q") == []
            with meanwhile(store, lambda _: _resume(store, "q")):
                assert task_ids(next_of(slot, "q")) == [f"call-{number}"]

    def test_given_several_sleepers_when_a_queue_full_of_calls_is_resumed_then_all_get_some(
        self, store: StoreUnderTest
    ) -> None:
        received: list[str] = []
        coordination = store.coordination()
        coordination.pause([Pause("q", 1.0)])
        store.broker().publish(batch("q", "abc"))

        def sleeper() -> None:
            other = store.driver.open_broker(store.url, store.options())
            lease = other.register(f"sleeper-{id(other)}", "celery@test")
            began = time.monotonic()
            while not (found := other.turn(lease, reserve=1, queues=["q"]).reserved):
                assert time.monotonic() - began < LONG_WAIT_S
                other.wait(["q"], LONG_WAIT_S)
            received.extend(task_ids(found))
            other.close()

        with (
            meanwhile(store, lambda _: sleeper()),
            meanwhile(store, lambda _: sleeper()),
            meanwhile(store, lambda _: sleeper()),
        ):
            time.sleep(0.2)  # lets them fall asleep; nothing depends on it
            coordination.resume(["q"])
        assert sorted(received) == ["a", "b", "c"]

    def test_given_a_paused_queue_with_work_when_a_slot_waits_then_it_sleeps_and_another_queue_wakes_it(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        store.coordination().pause([Pause("q1", 1.0)])
        slot.broker.publish(batch("q1", "ab"))
        assert slot.reserve("q1", "q2") == []
        began, returns = time.monotonic(), 0
        while time.monotonic() - began < 1.0:
            slot.broker.wait(["q1", "q2"], 0.5)
            returns += 1
        assert returns <= 20
        with meanwhile(store, publishing(batch("q2", "c"))):
            assert task_ids(next_of(slot, "q1", "q2")) == ["c"]

    def test_given_only_paused_queues_when_one_is_resumed_and_filled_later_then_the_slot_wakes(
        self, store: StoreUnderTest
    ) -> None:
        slot, coordination = store.slot(), store.coordination()
        coordination.pause([Pause("q1", 1.0), Pause("q2", 1.0)])
        assert slot.reserve("q1", "q2") == []
        slot.broker.wait(["q1", "q2"], 0.05)
        coordination.resume(["q2"])
        with meanwhile(store, publishing(batch("q2", "a"))):
            assert task_ids(next_of(slot, "q1", "q2")) == ["a"]

    def test_given_a_resume_between_turn_and_wait_when_it_waits_then_it_does_not_sleep_through_it(
        self, store: StoreUnderTest
    ) -> None:
        slot, coordination = store.slot(), store.coordination()
        coordination.pause([Pause("q", 1.0)])
        slot.broker.publish(batch("q", "a"))
        assert slot.reserve("q") == []
        coordination.resume(["q"])
        began = time.monotonic()
        slot.broker.wait(["q"], LONG_WAIT_S)
        assert time.monotonic() - began < PROMPT_S
        assert task_ids(next_of(slot, "q")) == ["a"]


class WaitingSinceContract:
    """A store need not know since when a call waits; what it says is true, to a minute of another clock."""

    def test_given_nothing_ready_when_counted_then_nothing_waits(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        slot.reserve("q")
        assert [depth.since for depth in slot.broker.depth(["q", "unknown"])] == [None, None]

    def test_given_calls_that_wait_when_counted_then_it_is_since_the_first_of_them_came(self, store: StoreUnderTest) -> None:
        slot, began = store.slot(), store.now()
        slot.broker.publish(batch("q", "a"))
        if not store.has_fake_clock:
            assert slot.depth("q").since in (None, pytest.approx(began, abs=60))
            return
        store.pass_time(100)
        slot.broker.publish([outgoing("q", "b", priority=9), outgoing("q", "c")])
        assert slot.depth("q").since == began
        held = slot.reserve("q", limit=1)
        assert slot.depth("q").since == began + 100
        store.pass_time(100)
        slot.release(held)
        assert slot.depth("q").since == began

    def test_given_a_call_that_was_delayed_when_counted_then_it_waits_since_it_was_due(self, store: StoreUnderTest) -> None:
        slot, began = store.slot(), store.now()
        if not store.has_fake_clock:
            pytest.skip("this store has its own clock")
        slot.broker.publish(batch("q", "a"))
        (held,) = slot.reserve("q")
        slot.turn(delay=[Delay(held.tag, began + 50)])
        store.pass_time(300)
        assert slot.broker.promote(["q"], store.now()) == (1, None)
        assert slot.depth("q").since == began + 50


def _resume(store: StoreUnderTest, queue: str) -> None:
    coordination = store.driver.open_coordination(store.url, store.options())
    coordination.resume([queue])
    coordination.close()
