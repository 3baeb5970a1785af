"""Results in another store than the broker's."""

from __future__ import annotations

from sedano.contracts import ChordPart, ChordReady, Pending, Results, ResultWrite
from sedano.exceptions import ResultsUnavailable
from sedano.testing import FakeClock
from sedano.worker.separate import MOST_WAITING, SeparateResults


class Store:
    """Just what the slot asks of a result store, with a switch."""

    def __init__(self) -> None:
        self.away = False
        self.writes: list[ResultWrite] = []
        self.reconnects = 0

    def store(self, writes: list[ResultWrite], parts: list[ChordPart] = []) -> list[ChordReady]:  # noqa: B006
        if self.away:
            raise ResultsUnavailable("away")
        self.writes += writes
        return [ChordReady(part.group_id) for part in parts]

    def reconnect(self) -> None:
        self.reconnects += 1


def pending(key: str) -> Pending:
    return Pending(key, ResultWrite(key, b"{}", None, True), None)


def separate(store: Store, clock: FakeClock) -> SeparateResults:
    def opened() -> Results:
        return store  # type: ignore[return-value]

    return SeparateResults(opened, clock)


def test_given_pendings_when_sent_then_their_keys_come_back_once() -> None:
    results = separate(store := Store(), FakeClock())
    results.add([pending("a:0"), pending("b:0")])

    assert results.send() == (["a:0", "b:0"], [])
    assert results.send() == ([], [])
    assert [write.task_id for write in store.writes] == ["a:0", "b:0"]


def test_given_the_last_part_of_a_chord_then_the_claim_comes_back() -> None:
    results = separate(Store(), FakeClock())
    results.add([Pending("a:0", None, ChordPart("group", "a", 0, b"[]", 60.0))])

    assert results.send() == (["a:0"], [ChordReady("group")])


def test_given_a_store_that_is_away_then_it_is_tried_again_after_a_while_and_nothing_blocks() -> None:
    clock = FakeClock()
    results = separate(store := Store(), clock)
    results.add([pending("a:0")])
    store.away = True

    assert results.send() == ([], [])
    assert results.retry_in == 2.0
    store.away = False
    assert results.send() == ([], [])  # too early

    clock.advance(2.0)
    assert results.send() == (["a:0"], [])
    assert results.retry_in is None


def test_given_too_many_pendings_then_the_oldest_are_left_to_whoever_takes_the_lease_over() -> None:
    results = separate(Store(), FakeClock())
    results.add(pending(f"{n}:0") for n in range(MOST_WAITING + 5))

    keys, _ = results.send()

    assert len(keys) == MOST_WAITING
    assert keys[0] == "5:0"
