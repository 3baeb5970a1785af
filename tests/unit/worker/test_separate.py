"""Results in another store than the broker's."""

from __future__ import annotations

from sedano.contracts import ChordPart, ChordReady, ChordStart, Pending, Results, ResultWrite
from sedano.exceptions import MessageTooLarge, ResultsUnavailable
from sedano.testing import FakeClock
from sedano.worker.separate import MOST_WAITING, SeparateResults


class Store:
    """Just what the slot asks of a result store, with a switch."""

    def __init__(self) -> None:
        self.away = False
        self.writes: list[ResultWrite] = []
        self.starts: list[ChordStart] = []
        self.repeated: list[bool] = []
        self.reconnects = 0

    def store(
        self, writes: list[ResultWrite], parts: list[ChordPart], starts: list[ChordStart], *, repeated: bool
    ) -> list[ChordReady]:
        self.repeated.append(repeated)
        self.starts += starts
        if self.away:
            raise ResultsUnavailable("away")
        if any(len(write.payload) > 100 for write in writes):
            raise MessageTooLarge("too large")
        self.writes += writes
        return [ChordReady(part.group_id) for part in parts]

    def reconnect(self) -> None:
        self.reconnects += 1


def pending(key: str) -> Pending:
    return Pending(key, ResultWrite(key, b"{}", None, True), None)


def separate(store: Store, clock: FakeClock) -> SeparateResults:
    def opened() -> Results:
        return store  # type: ignore[return-value]

    def unstorable(refused: Pending, exc: Exception) -> Pending:
        return Pending(refused.key, ResultWrite(refused.key, str(exc).encode(), None, True), None)

    return SeparateResults(opened, unstorable, clock)


def test_given_pendings_when_sent_then_their_keys_come_back_once() -> None:
    results = separate(store := Store(), FakeClock())
    results.add([pending("a:0"), pending("b:0")])

    assert results.send() == (["a:0", "b:0"], {})
    assert results.send() == ([], {})
    assert [write.task_id for write in store.writes] == ["a:0", "b:0"]


def test_given_a_record_that_the_store_refuses_then_it_alone_is_replaced_and_nothing_waits_for_it() -> None:
    results = separate(store := Store(), FakeClock())
    results.add([pending("a:0"), Pending("b:0", ResultWrite("b:0", b"x" * 200, None, True), None), pending("c:0")])

    assert results.send() == (["a:0", "b:0", "c:0"], {})
    assert [(write.task_id, write.payload) for write in store.writes] == [("a:0", b"{}"), ("b:0", b"too large"), ("c:0", b"{}")]


def test_given_the_last_part_of_a_chord_then_its_pending_stays_until_the_chord_is_finished() -> None:
    results = separate(store := Store(), FakeClock())
    start = ChordStart("other", 2, 60.0)
    part = ChordPart("group", "a", 0, b"[]", 60.0)
    results.add([pending("z:0"), Pending("a:0", None, None, more_parts=(part,), chord_starts=(start,))])

    assert results.send() == (["z:0"], {"a:0": [ChordReady("group")]})
    assert store.starts == [start]


def test_given_a_store_that_is_away_then_it_is_tried_again_after_a_while_and_nothing_blocks() -> None:
    clock = FakeClock()
    results = separate(store := Store(), clock)
    results.add([pending("a:0")])
    store.away = True

    assert results.send() == ([], {})
    assert results.retry_in == 2.0
    store.away = False
    assert results.send() == ([], {})  # too early

    clock.advance(2.0)
    assert results.send() == (["a:0"], {})
    assert store.repeated == [False, True], "the first try may have been applied"
    assert results.retry_in is None


def test_given_too_many_pendings_then_the_oldest_are_left_to_whoever_takes_the_lease_over() -> None:
    results = separate(Store(), FakeClock())
    results.add(pending(f"{n}:0") for n in range(MOST_WAITING + 5))

    keys, _ = results.send()

    assert len(keys) == MOST_WAITING
    assert keys[0] == "5:0"
