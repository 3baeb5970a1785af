"""Bytes that are no message: they come out as deliveries that say why, and never stand in anybody's way."""

from __future__ import annotations

import pytest

from sedano.contracts import Begin, Outcome
from sedano.testing.contracts.harness import StoreUnderTest
from sedano.testing.contracts.messages import batch, dead, outgoing, requeue, settlement, task_ids

BAD = {
    "empty": b"",
    "text": b"not json at all",
    "binary": bytes(range(256)),
    "null": b"null",
    "number": b"42",
    "string": b'"text"',
    "list": b"[]",
    "empty map": b"{}",
    "half a map": b'{"body": "W10=", "headers": {',
    "body is a number": b'{"body": 1, "headers": {}, "properties": {}}',
    "headers are a list": b'{"body": "", "headers": [1], "properties": {}}',
    "body is cut": b'{"body": "abc", "headers": {}, "properties": {"body_encoding": "base64"}}',
    "too deep": b"[" * 100_000,
}


class UnreadableContract:
    @pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
    def test_given_bytes_that_are_no_message_when_reserved_then_the_delivery_says_why_and_the_next_one_follows(
        self, store: StoreUnderTest, raw: bytes
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        store.put_raw("q", raw)
        slot.broker.publish(batch("q", "b"))
        before, bad, after = slot.reserve("q")
        assert task_ids([before, after]) == ["a", "b"]
        assert (bad.message, bad.raw, bad.queue) == (None, raw, "q")
        assert bad.unreadable
        assert not before.unreadable

    def test_given_nothing_but_unreadable_bytes_when_reserved_one_by_one_then_each_comes_once(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        for raw in BAD.values():
            store.put_raw("q", raw)
        received = [slot.reserve("q", limit=1)[0].raw for _ in BAD]
        assert received == list(BAD.values())
        assert slot.reserve("q") == []

    def test_given_an_unreadable_delivery_when_it_is_settled_dead_then_the_letter_holds_the_exact_bytes(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        for raw in BAD.values():
            store.put_raw("q", raw)
            (delivery,) = slot.reserve("q")
            step = dead(delivery, store.now())
            assert slot.settle(step).refused == []
        letters = slot.broker.dead_letters("q")
        assert [letter.raw for letter in reversed(letters)] == list(BAD.values())
        assert slot.reserve("q") == []

    def test_given_an_unreadable_delivery_when_released_begun_and_unbegun_then_it_goes_the_way_of_any_other(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        store.put_raw("q", b"junk")
        slot.broker.publish(batch("q", "b"))
        assert slot.release(slot.reserve("q", limit=1)) == 1
        (junk,) = slot.reserve("q", limit=1)
        assert slot.turn(begin=[Begin(junk.tag, early=False)]).begun == [junk.tag]
        assert slot.unbegin([junk]) == 1
        junk, _ = slot.reserve("q")
        assert (junk.raw, junk.message) == (b"junk", None)

    def test_given_an_unreadable_delivery_when_requeued_then_it_is_at_the_tail_and_cannot_be_counted(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        store.put_raw("q", b"junk")
        slot.broker.publish(batch("q", "b"))
        (junk,) = slot.reserve("q", limit=1)
        slot.settle(requeue(junk))
        b, junk = slot.reserve("q")
        assert task_ids([b]) == ["b"]
        assert (junk.raw, junk.deliveries) == (b"junk", 0)

    def test_given_an_unreadable_delivery_of_a_dead_owner_when_taken_over_then_it_comes_too(
        self, store: StoreUnderTest
    ) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        for raw in BAD.values():
            store.put_raw("q", raw)
        slot.reserve("q")
        taken = reaper.take_over(slot)
        assert sorted(delivery.raw for delivery in taken) == sorted(BAD.values())
        assert all(delivery.message is None and delivery.unreadable for delivery in taken)

    def test_given_unreadable_bytes_when_counted_and_purged_then_they_are_messages_like_others(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        store.put_raw("q", b"junk")
        slot.broker.publish([outgoing("q", "a")])
        assert slot.depth("q").ready == 2
        assert slot.broker.purge("q") == 2

    def test_given_unreadable_and_good_calls_when_settled_in_one_turn_then_all_are_settled(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        store.put_raw("q", b"junk")
        slot.broker.publish(batch("q", "a"))
        junk, a = slot.reserve("q")
        reply = slot.settle(dead(junk, store.now()), settlement(a, outcome=Outcome.EXPIRED))
        assert reply.refused == []
        depth = slot.depth("q")
        assert (depth.ready, depth.reserved, depth.dead) == (0, 0, 1)
