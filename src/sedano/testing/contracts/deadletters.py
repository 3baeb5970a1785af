"""Dead letters: the exact message and why it died, for as long and as much as its note allows."""

from __future__ import annotations

from sedano.contracts import Outgoing
from sedano.protocol import envelope
from sedano.testing.contracts.harness import Slot, StoreUnderTest
from sedano.testing.contracts.messages import batch, dead, outgoing, requeue, task_ids

KEEP_S = 4.0
"""Longer than a look takes on a machine that is busy, where the time is the real one."""


class DeadLetterContract:
    def test_given_a_call_that_dies_when_its_letter_is_read_then_it_holds_the_exact_message_and_the_reason(
        self, store: StoreUnderTest
    ) -> None:
        slot, operator = store.slot(), store.broker()
        slot.broker.publish(batch("q", "a"))
        (delivery,) = slot.take("q", early=True)
        step = dead(delivery, store.now())
        assert slot.settle(step).refused == []
        (letter,) = operator.dead_letters()
        assert (letter.queue, letter.raw, letter.note) == ("q", delivery.raw, step.dead)
        depth = slot.depth("q")
        assert (depth.ready, depth.reserved, depth.begun, depth.dead) == (0, 0, 0, 1)
        assert slot.reserve("q") == []

    def test_given_a_redelivered_call_that_dies_when_its_letter_is_read_then_the_message_shows_its_history(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        slot.settle(requeue(slot.take("q")[0]))
        slot.settle(dead(slot.take("q")[0], store.now()))
        (letter,) = slot.broker.dead_letters("q")
        assert envelope.deliveries_of(envelope.decode(letter.raw)) == 1

    def test_given_letters_when_asked_for_those_before_the_next_number_then_the_first_is_the_one_of_this_number(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "abc"))
        for delivery in slot.take("q"):
            slot.settle(dead(delivery, store.now()))
        for letter in slot.broker.dead_letters():
            assert slot.broker.dead_letters(limit=1, before=str(int(letter.id) + 1)) == [letter]
        assert len(slot.broker.dead_letters(before=str(10**18 - 1))) == 3

    def test_given_a_letter_when_its_message_is_published_again_then_the_call_runs_again(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        slot.broker.publish(batch("q", "a"))
        slot.settle(dead(slot.take("q")[0], store.now()))
        (letter,) = slot.broker.dead_letters("q")
        slot.broker.publish([Outgoing(envelope.decode(letter.raw), letter.queue)])
        assert task_ids(slot.reserve("q")) == ["a"]

    def test_given_many_letters_when_read_in_pages_then_the_newest_come_first_and_none_twice(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        names = [f"call-{number}" for number in range(25)]
        bury(store, slot, "q", names)
        pages: list[list[str]] = []
        before: str | None = None
        while letters := slot.broker.dead_letters("q", limit=10, before=before):
            pages.append([letter.note.task_id for letter in letters])
            before = letters[-1].id
        assert [len(page) for page in pages] == [10, 10, 5]
        assert [name for page in pages for name in page] == names[::-1]

    def test_given_letters_of_two_queues_when_one_is_asked_for_then_only_its_own_come(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        bury(store, slot, "q1", "ab")
        bury(store, slot, "q2", "c")
        assert [letter.note.task_id for letter in slot.broker.dead_letters("q1")] == ["b", "a"]
        assert [letter.note.task_id for letter in slot.broker.dead_letters("q2")] == ["c"]
        assert slot.broker.dead_letters("unknown") == []
        every = slot.broker.dead_letters()
        assert [letter.note.task_id for letter in every] == ["c", "b", "a"]
        assert len({letter.id for letter in every}) == 3
        assert [letter.note.task_id for letter in slot.broker.dead_letters(before=every[0].id, limit=1)] == ["b"]

    def test_given_letters_when_some_are_dropped_then_these_are_gone(self, store: StoreUnderTest) -> None:
        slot, operator = store.slot(), store.broker()
        bury(store, slot, "q1", "abc")
        bury(store, slot, "q2", "d")
        d, c, b, _ = slot.broker.dead_letters()
        assert operator.drop_dead([b.id, d.id, "no-such-letter", b.id]) == 2
        assert operator.drop_dead([b.id]) == 0
        assert operator.drop_dead([]) == 0
        assert [letter.note.task_id for letter in slot.broker.dead_letters()] == [c.note.task_id, "a"]
        assert (slot.depth("q1").dead, slot.depth("q2").dead) == (2, 0)

    def test_given_a_limit_in_bytes_when_it_is_passed_then_the_oldest_letters_of_this_queue_go(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        body = b"x" * 10_000
        bury(store, slot, "other", "o", body=body)
        bury(store, slot, "q", "ab", body=body)
        room_for_two = int(2.5 * len(slot.broker.dead_letters("q")[0].raw))
        bury(store, slot, "q", "c", body=body, max_bytes=room_for_two)
        assert [letter.note.task_id for letter in slot.broker.dead_letters("q")] == ["c", "b"]
        bury(store, slot, "q", "d", body=body, max_bytes=room_for_two)
        assert [letter.note.task_id for letter in slot.broker.dead_letters("q")] == ["d", "c"]
        assert slot.depth("q").dead == 2
        assert slot.depth("other").dead == 1

    def test_given_letters_dropped_by_hand_when_new_ones_come_then_their_room_is_free_again(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        body = b"x" * 10_000
        bury(store, slot, "q", "ab", body=body)
        newest, _ = slot.broker.dead_letters("q")
        room_for_two = int(2.5 * len(newest.raw))
        slot.broker.drop_dead([newest.id])
        bury(store, slot, "q", "c", body=body, max_bytes=room_for_two)
        assert [letter.note.task_id for letter in slot.broker.dead_letters("q")] == ["c", "a"]

    def test_given_a_letter_larger_than_the_limit_when_it_dies_then_it_alone_is_kept(self, store: StoreUnderTest) -> None:
        """Nothing vanishes silently: the newest letter always stays."""
        slot = store.slot()
        bury(store, slot, "q", "ab")
        bury(store, slot, "q", ["large"], body=b"x" * 10_000, max_bytes=100)
        assert [letter.note.task_id for letter in slot.broker.dead_letters("q")] == ["large"]

    def test_given_letters_older_than_they_are_kept_when_looked_for_then_they_are_gone(self, store: StoreUnderTest) -> None:
        slot, now = store.slot(), store.now()
        slot.broker.publish(batch("q", "abc"))
        a, b, c = slot.take("q")
        slot.settle(dead(a, now - 7200, keep_s=3600), dead(b, now - 7200, keep_s=10_000), dead(c, now, keep_s=3600))
        assert [letter.note.task_id for letter in slot.broker.dead_letters("q")] == ["c", "b"]
        assert slot.depth("q").dead == 2

    def test_given_a_letter_when_its_time_is_over_then_it_goes(self, store: StoreUnderTest) -> None:
        slot = store.slot()
        keep_s = 1.0 if store.has_fake_clock else KEEP_S
        bury(store, slot, "q", "a", keep_s=keep_s)
        assert slot.depth("q").dead == 1
        store.pass_time(keep_s + 0.2)
        assert slot.broker.dead_letters("q") == []
        assert slot.depth("q").dead == 0

    def test_given_dead_letters_only_when_queues_are_listed_then_theirs_is_known_and_a_purge_leaves_them(
        self, store: StoreUnderTest
    ) -> None:
        slot = store.slot()
        bury(store, slot, "q", "a")
        assert slot.broker.queues() == ["q"]
        assert slot.broker.purge("q") == 0
        assert len(slot.broker.dead_letters("q")) == 1


def bury(
    store: StoreUnderTest,
    slot: Slot,
    queue: str,
    names: str | list[str],
    *,
    body: bytes = b"[[], {}, {}]",
    keep_s: float = 3600.0,
    max_bytes: int = 1 << 30,
) -> None:
    """Let a call die for each name, in order, one turn each."""
    for name in names:
        slot.broker.publish([outgoing(queue, name, body=body)])
        (delivery,) = slot.take(queue)
        assert slot.settle(dead(delivery, store.now(), keep_s=keep_s, max_bytes=max_bytes)).refused == []
