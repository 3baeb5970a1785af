"""Beginning in the very step that reserves: `begin_new`, and what makes it safe."""

from __future__ import annotations

from typing import Any

import pytest

from sedano.contracts import BeginRule, Delay, Standing
from sedano.testing.contracts.harness import StoreUnderTest
from sedano.testing.contracts.messages import batch, outgoing, settlement, task_ids

EARLY, LATE = BeginRule(early=True), BeginRule(early=False)
HOW = {"early": (EARLY, Standing.BEGUN_EARLY), "late": (LATE, Standing.BEGUN_LATE)}


def windows(**costs: int) -> BeginRule:
    return BeginRule(early=True, costs={f"tests.{task}": cost for task, cost in costs.items()}, budget_us=100, most=5)


class BeginNewContract:
    @pytest.mark.parametrize(
        ("tasks", "rule", "begun"),
        [
            ("add add add add add add add", windows(add=10), 5),
            ("add add add add", windows(add=40), 2),
            ("add add", windows(add=500), 1),
            ("add slow add", windows(add=10), 1),
            ("slow add add", windows(add=10), 1),
            ("add tiny add slow", windows(add=10, tiny=1), 3),
            ("add add again add", windows(add=10), 2),
            ("again add", windows(add=10), 1),
            ("add add", BeginRule(early=True, costs={"tests.add": 1}, budget_us=100), 1),
        ],
    )
    def test_given_run_times_when_reserved_then_a_window_is_begun_that_fits(
        self, store: StoreUnderTest, tasks: str, rule: BeginRule, begun: int
    ) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        for number, task in enumerate(tasks.split()):
            more: dict[str, Any] = {"task": f"tests.{task}"}
            if task == "again":
                more = {"task": "tests.add", "redelivered": True}
            slot.broker.publish([outgoing("q", f"t{number}", **more)])
        reply = slot.turn(reserve=100, queues=["q"], begin_new=rule)
        count = len(tasks.split())
        expected = [Standing.BEGUN_EARLY] * begun + [Standing.RESERVED] * (count - begun)
        assert [delivery.standing for delivery in reply.reserved] == expected
        depth = slot.depth("q")
        assert (depth.begun, depth.reserved) == (begun, count - begun)
        assert sorted(each.standing for each in reaper.take_over(slot)) == sorted(expected)

    @pytest.mark.parametrize("how", HOW)
    def test_given_a_rule_when_reserved_then_the_first_is_begun_and_the_others_are_not(
        self, store: StoreUnderTest, how: str
    ) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        rule, standing = HOW[how]
        slot.broker.publish(batch("q", "abc"))
        reply = slot.turn(reserve=2, queues=["q"], begin_new=rule)
        assert task_ids(reply.reserved) == ["a", "b"]
        assert [delivery.standing for delivery in reply.reserved] == [standing, Standing.RESERVED]
        depth = slot.depth("q")
        assert (depth.ready, depth.begun, depth.reserved) == (1, 1, 1)
        assert {each.standing for each in reaper.take_over(slot)} == {standing, Standing.RESERVED}

    @pytest.mark.parametrize("how", HOW)
    def test_given_an_exception_from_the_rule_when_its_task_comes_first_then_it_is_begun_the_other_way(
        self, store: StoreUnderTest, how: str
    ) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        slot.broker.publish([outgoing("q", "a", task="tests.other"), outgoing("q", "b", task="tests.other.one")])
        rule = BeginRule(early=how == "early", exceptions=frozenset({"tests.other", "tests.more"}))
        first = slot.turn(reserve=1, queues=["q"], begin_new=rule).reserved
        second = slot.turn(reserve=1, queues=["q"], begin_new=rule).reserved
        other = Standing.BEGUN_LATE if how == "early" else Standing.BEGUN_EARLY
        assert [each.standing for each in (*first, *second)] == [other, HOW[how][1]]
        assert [each.standing for each in reaper.take_over(slot)] == [other, HOW[how][1]]

    def test_given_nothing_to_reserve_when_a_rule_is_given_then_nothing_is_begun(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        assert slot.turn(reserve=3, queues=["q"], begin_new=EARLY).reserved == []
        slot.broker.publish(batch("q", "a"))
        assert slot.turn(reserve=0, queues=["q"], begin_new=EARLY).reserved == []
        assert slot.depth("q").ready == 1

    @pytest.mark.parametrize("how", HOW)
    def test_given_a_first_that_was_begun_when_settled_then_nothing_is_left_of_it(
        self, store: StoreUnderTest, how: str
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "ab"))
        (first,) = slot.turn(reserve=1, queues=["q"], begin_new=HOW[how][0]).reserved
        reply = slot.turn(settle=[settlement(first)], reserve=1, queues=["q"], begin_new=HOW[how][0])
        assert (reply.refused, task_ids(reply.reserved)) == ([], ["b"])
        slot.settle(settlement(reply.reserved[0]))
        depth = slot.depth("q")
        assert (depth.ready, depth.begun, depth.reserved) == (0, 0, 0)
        assert slot.record().held == 0

    @pytest.mark.parametrize("how", HOW)
    def test_given_a_first_that_is_not_due_when_delayed_then_it_waits_and_comes_back_ordinary(
        self, store: StoreUnderTest, how: str
    ) -> None:
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish(batch("q", "a"))
        (first,) = slot.turn(reserve=1, queues=["q"], begin_new=HOW[how][0]).reserved
        assert slot.turn(delay=[Delay(first.tag, store.now() - 1)]).refused == []
        assert slot.depth("q").delayed == 1
        assert slot.record().held == 0
        assert slot.broker.promote(["q"], store.now())[0] == 1
        (again,) = other.reserve("q")
        assert (again.standing, again.deliveries, again.redelivered) == (Standing.RESERVED, 0, False)
        assert again.raw == first.raw

    def test_given_an_answer_that_was_lost_when_all_that_is_begun_goes_back_then_only_what_is_kept_stays(
        self, store: StoreUnderTest
    ) -> None:
        slot, other = store.slot(), store.slot("other")
        slot.broker.publish(batch("q", "abcd"))
        (done,) = slot.turn(reserve=1, queues=["q"], begin_new=EARLY).reserved
        (reserved,) = slot.reserve("q", limit=1)
        slot.turn(reserve=1, queues=["q"], begin_new=EARLY)
        slot.turn(reserve=1, queues=["q"], begin_new=LATE)
        assert slot.broker.unbegin(slot.lease, None, keep=[done.tag, "no-such-tag"]) == 2
        back = other.reserve("q")
        assert task_ids(back) == ["c", "d"]
        assert [(each.standing, each.deliveries, each.redelivered) for each in back] == [(Standing.RESERVED, 0, False)] * 2
        assert slot.settle(settlement(done), settlement(reserved)).refused == []
        assert slot.broker.unbegin(slot.lease, None) == 0

    def test_given_junk_at_the_head_when_a_rule_is_given_then_it_stays_reserved(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        store.put_raw("q", b"{ this is no message")
        (junk,) = slot.turn(reserve=1, queues=["q"], begin_new=EARLY).reserved
        assert (junk.message, junk.standing) == (None, Standing.RESERVED)
        assert slot.release([junk]) == 1

    def test_given_a_name_that_is_no_text_when_a_rule_is_given_then_the_turn_goes_on(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        store.put_raw("q", b'{"headers": {"lang": "py", "task": "\xff\xfe"}, "properties": {}}')
        slot.broker.publish(batch("q", "a"))
        junk, call = slot.turn(reserve=2, queues=["q"], begin_new=windows(add=10)).reserved
        assert (junk.message, call.standing) == (None, Standing.RESERVED)
        assert slot.settle(settlement(call)).refused == []
