"""Chords in settlements: sizes, parts, the claim that somebody can always finish, and its end."""

from __future__ import annotations

from typing import Any

import pytest

from sedano.contracts import ChordStart, Outcome, Settlement, claim_key, pending_tag
from sedano.exceptions import LeaseLost
from sedano.testing.contracts.harness import Slot, StoreUnderTest
from sedano.testing.contracts.messages import batch, chord_part, outgoing, result, settlement, task_ids


class ChordSettlingContract:
    """Where broker and results are one store."""

    def test_given_a_start_in_a_settlement_when_the_parts_come_then_the_chord_is_ready(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        starter, *header = taken(slot, "abc")
        reply = slot.settle(settlement(starter, chord_starts=(ChordStart("g", 2, 3600.0), ChordStart("other", 1, 3600.0))))
        assert reply.chords == []
        assert slot.settle(settlement(header[0], chord_part=chord_part("g", 0))).chords == []
        (ready,) = slot.settle(settlement(header[1], chord_part=chord_part("g", 1))).chords
        assert (ready.group_id, ready.claim) == ("g", b"")

    def test_given_parts_of_other_calls_in_a_settlement_when_settled_then_all_are_counted(self, store: StoreUnderTest) -> None:
        slot, results = store.slot(), store.results()
        (delivery,) = taken(slot, "a")
        results.start_chord("g", 3, 3600.0)
        parts = tuple(chord_part("g", index) for index in range(3))
        (ready,) = slot.settle(settlement(delivery, chord_part=parts[0], more_parts=parts[1:])).chords
        assert ready.group_id == "g"
        assert results.chord_parts("g") == [part.payload for part in parts]

    def test_given_a_claim_when_its_owner_dies_then_whoever_takes_over_can_finish_the_chord(
        self, store: StoreUnderTest
    ) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        self.complete(store, slot, claim=b"the body")
        taken_over = reaper.broker.take_over(slot.record(), reaper.lease, limit=100)
        assert taken_over.deliveries == []
        assert [(pending.key, pending.claim) for pending in taken_over.pendings] == [(claim_key("g"), b"the body")]
        with pytest.raises(LeaseLost):
            slot.settle(finish("g"))
        assert reaper.settle(finish("g")).refused == []
        assert task_ids(reaper.take("q")) == ["body-of-g"]

    def test_given_a_claim_when_it_is_settled_then_body_and_results_are_there_and_the_chord_is_over(
        self, store: StoreUnderTest
    ) -> None:
        slot, results = store.slot(), store.results()
        self.complete(store, slot, claim=b"the body")
        end = finish("g", more_results=(result("b", b"B"),), chord_starts=(ChordStart("inner", 1, 3600.0),))
        assert slot.settle(end).refused == []
        assert task_ids(slot.take("q")) == ["body-of-g"]
        assert results.fetch(["b"]) == [b"B"]
        assert results.chord_parts("g") == []
        assert results.store([], [chord_part("g", 1)]) == [], "a late duplicate does not start it again"
        assert [ready.group_id for ready in results.store([], [chord_part("inner", 0)])] == ["inner"]

    def test_given_a_claim_that_was_settled_when_it_is_settled_again_then_it_is_refused(self, store: StoreUnderTest) -> None:
        slot, stranger = store.slot(), store.slot("stranger")
        self.complete(store, slot, claim=b"the body")
        assert stranger.settle(finish("g")).refused == [pending_tag(claim_key("g"))]
        slot.settle(finish("g"))
        assert slot.settle(finish("g")).refused == [pending_tag(claim_key("g"))]
        assert task_ids(slot.take("q")) == ["body-of-g"]
        assert slot.broker.retire(slot.lease) == 0

    def test_given_a_claim_that_ends_in_the_part_of_an_outer_chord_then_that_one_is_claimed_in_turn(
        self, store: StoreUnderTest
    ) -> None:
        slot, reaper = store.slot(), store.slot("reaper")
        store.results().start_chord("outer", 1, 3600.0)
        self.complete(store, slot, claim=b"inner body")
        (ready,) = slot.settle(finish("g", messages_out=(), more_parts=(chord_part("outer", 0, claim=b"outer body"),))).chords
        assert (ready.group_id, ready.claim) == ("outer", b"outer body")
        (pending,) = reaper.broker.take_over(slot.record(), reaper.lease, limit=100).pendings
        assert (pending.key, pending.claim) == (claim_key("outer"), b"outer body")

    def test_given_a_chord_that_grows_when_its_first_size_is_reached_then_it_waits_for_the_rest(
        self, store: StoreUnderTest
    ) -> None:
        results = store.results()
        results.grow_chord("early", 1, "a")
        for group in ("g", "early"):
            assert results.start_chord(group, 1, 3600.0) is None
        results.grow_chord("g", 2, "a")
        assert results.store([], [chord_part("g", 0), chord_part("g", 1), chord_part("early", 0)]) == []
        claims = results.store([], [chord_part("g", 2), chord_part("early", 1)])
        assert [claim.group_id for claim in claims] == ["g", "early"]

    def test_given_a_chord_that_grows_when_the_answer_is_lost_and_it_is_repeated_then_it_has_grown_once(
        self, store: StoreUnderTest
    ) -> None:
        results = store.results()
        results.start_chord("g", 1, 3600.0)
        for tag in ("a", "b", "a", "b"):
            results.grow_chord("g", 1, tag)
        assert results.store([], [chord_part("g", 0), chord_part("g", 1)]) == []
        (ready,) = results.store([], [chord_part("g", 2)])
        assert ready.group_id == "g"

    def complete(self, store: StoreUnderTest, slot: Slot, *, claim: bytes) -> None:
        """A chord "g" whose last part `slot` brings."""
        store.results().start_chord("g", 2, 3600.0)
        first, last = taken(slot, "xy")
        assert slot.settle(settlement(first, chord_part=chord_part("g", 0, claim=claim))).chords == []
        (ready,) = slot.settle(settlement(last, chord_part=chord_part("g", 1, claim=claim))).chords
        assert (ready.group_id, ready.claim) == ("g", claim)


class SeparateChordContract:
    """Where results are another store than the broker."""

    def test_given_results_elsewhere_when_settled_then_everything_of_chords_is_left_to_do(self, store: StoreUnderTest) -> None:
        slot, reaper = store.slot(writes_results=False), store.slot("reaper", writes_results=False)
        (delivery,) = taken(slot, "a")
        start, part = ChordStart("new", 2, 60.0), chord_part("g", 0, claim=b"the body")
        slot.settle(settlement(delivery, chord_starts=(start,), more_parts=(part,), ends_chord="old"))
        (pending,) = reaper.broker.take_over(slot.record(), reaper.lease, limit=100).pendings
        assert (pending.chord_starts, pending.parts, pending.ends_chord) == ((start,), (part,), "old")

    def test_given_a_pending_when_it_is_settled_then_the_body_goes_out_and_nobody_has_it_any_more(
        self, store: StoreUnderTest
    ) -> None:
        slot, reaper = store.slot(writes_results=False), store.slot("reaper", writes_results=False)
        (delivery,) = taken(slot, "a")
        slot.settle(settlement(delivery, chord_part=chord_part("g", 0)))
        end = Settlement(pending_tag("a:0"), Outcome.SUCCESS, messages_out=(outgoing("q", "body-of-g"),))
        assert slot.settle(end).refused == []
        assert slot.settle(end).refused == [pending_tag("a:0")]
        assert task_ids(slot.take("q")) == ["body-of-g"]
        assert reaper.broker.take_over(slot.record(), reaper.lease, limit=100).pendings == []

    def test_given_a_store_of_parts_that_is_repeated_then_only_whoever_brought_the_last_hears_of_it_again(
        self, store: StoreUnderTest
    ) -> None:
        results = store.results()
        first, last = (chord_part("g", index, claim=b"the body") for index in range(2))
        assert results.store([], [first], [ChordStart("g", 2, 3600.0)]) == []
        (ready,) = results.store([], [last])
        assert (ready.group_id, ready.claim) == ("g", b"the body")
        assert results.store([], [last]) == []
        assert results.store([], [first], repeated=True) == []
        assert results.store([], [last], repeated=True) == [ready]
        results.end_chord("g")
        assert results.store([], [last], repeated=True) == []


def taken(slot: Slot, names: str) -> list[Any]:
    """Deliveries of new calls, begun."""
    slot.broker.publish(batch("q", names))
    return slot.take("q", limit=len(names))


def finish(group_id: str, **fields: Any) -> Settlement:
    given: dict[str, Any] = {"messages_out": (outgoing("q", f"body-of-{group_id}"),), "ends_chord": group_id, **fields}
    return Settlement(pending_tag(claim_key(group_id)), Outcome.SUCCESS, **given)
