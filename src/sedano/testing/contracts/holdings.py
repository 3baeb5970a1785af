"""Looking at what owners hold and at what waits for its time."""

from __future__ import annotations

import msgspec

from sedano.contracts import Outgoing, Standing
from sedano.testing.contracts.harness import StoreUnderTest, tags
from sedano.testing.contracts.messages import batch, message, outgoing, settlement, task_ids


class HoldingsContract:
    def test_given_deliveries_in_hand_when_looked_at_then_begun_ones_come_first_as_they_stand(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "abcd"))
        first, late, early, last = slot.reserve("q")
        slot.begin([late])
        slot.begin([early], early=True)
        found = store.broker().held([slot.lease.owner], limit=10)
        assert [(each.tag, each.standing) for each in found] == [
            (late.tag, Standing.BEGUN_LATE),
            (early.tag, Standing.BEGUN_EARLY),
            (first.tag, Standing.RESERVED),
            (last.tag, Standing.RESERVED),
        ]
        assert task_ids(found) == ["b", "c", "a", "d"]
        assert [(each.queue, each.raw) for each in found] == [(each.queue, each.raw) for each in (late, early, first, last)]
        assert tags(store.broker().held([slot.lease.owner], limit=3)) == [late.tag, early.tag, first.tag]
        assert slot.begin([first]) == [first.tag]  # looking has taken nothing
        slot.settle(settlement(late))
        assert tags(slot.broker.held([slot.lease.owner], limit=10)) == [first.tag, early.tag, last.tag]

    def test_given_several_owners_when_looked_at_then_only_those_asked_about_are_shown(self, store: StoreUnderTest) -> None:
        one, other = store.slot("one"), store.slot("other")
        one.broker.publish(batch("q", "abc"))
        mine, theirs = one.reserve("q", limit=1), other.reserve("q", limit=1)
        broker = store.broker()
        assert task_ids(broker.held([one.lease.owner], limit=10)) == ["a"]
        assert sorted(task_ids(broker.held([one.lease.owner, other.lease.owner], limit=10))) == ["a", "b"]
        assert broker.held([], limit=10) == []
        assert broker.held(["nobody"], limit=10) == []
        assert task_ids(broker.held([one.lease.owner, other.lease.owner], limit=10, tags=tags(theirs))) == ["b"]
        assert broker.held([one.lease.owner], limit=10, tags=tags(theirs)) == []
        assert broker.held([one.lease.owner], limit=10, tags=["no such tag", ""]) == []
        assert tags(broker.held([one.lease.owner], limit=10, tags=tags(mine))) == tags(mine)

    def test_given_bytes_that_are_no_message_when_looked_at_then_it_is_said(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))  # which makes the store
        slot.take("q")
        store.put_raw("q", b"no message")
        slot.reserve("q")
        _, unreadable = slot.broker.held([slot.lease.owner], limit=10)
        assert (unreadable.raw, unreadable.message) == (b"no message", None)
        assert unreadable.unreadable

    def test_given_delayed_calls_when_looked_at_then_the_earliest_come_first_with_the_total(
        self, store: StoreUnderTest
    ) -> None:
        slot, now = store.slot(), store.now()
        for number, name in enumerate(["q", "r", "q", "r"]):
            slot.broker.publish([outgoing(name, f"c{number}", due=now + 90 - 10 * number, priority=3)])
        slot.broker.publish([outgoing("q", "ready"), Outgoing(message("parked"), "q", due=now + 1, parked="new")])
        broker = store.broker()
        count, entries = broker.delayed(["q", "r", "no such queue"], limit=3)
        assert count == 4
        assert task_ids(delivery for _, delivery in entries) == ["c3", "c2", "c1"]
        assert [round(due - now, 3) for due, _ in entries] == [60, 70, 80]
        assert [(delivery.queue, delivery.tag, delivery.priority) for _, delivery in entries] == [
            ("r", "", 3), ("q", "", 3), ("r", "", 3),
        ]  # fmt: skip
        count, entries = broker.delayed(["q"], limit=10)
        assert (count, task_ids(delivery for _, delivery in entries)) == (2, ["c2", "c0"])
        assert broker.delayed([], limit=10) == (0, [])
        assert slot.depth("q").delayed == 2

    def test_given_a_wide_schedule_when_looked_at_then_no_more_is_read_than_is_asked_for(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        messages = [msgspec.structs.replace(each, due=now + 60) for each in batch("q", [f"c{n}" for n in range(50)])]
        slot.broker.publish(messages)
        count, entries = slot.broker.delayed(["q"], limit=5)
        assert (count, len(entries)) == (50, 5)
