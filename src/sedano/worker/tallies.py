"""What became of the calls of each task in one slot: a region of the shared table behind the row, for the worker's metrics.

One process writes it, the slot; the supervisor adds up those of all slots. It outlives its slot: the next process of the row
goes on counting where the one before stopped. Nothing is written, and no page of memory used, unless `is_on`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from sedano.contracts import Outcome

BOUNDS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
OUTCOMES = (Outcome.SUCCESS, Outcome.FAILURE, Outcome.RETRY, Outcome.IGNORED, Outcome.REJECTED, Outcome.REVOKED, Outcome.LOST)
MOST_TASKS = 100
OTHERS = "(other)"

_BUCKETS = len(BOUNDS_S) + 1
_SUCCESS = Outcome.SUCCESS
_BEHIND = {outcome: 2 + place * _BUCKETS for place, outcome in enumerate(OUTCOMES)}  # words behind the start of an entry
_OF_OTHERS = _BEHIND[Outcome.LOST]
_LATE = 2 + len(OUTCOMES) * _BUCKETS
_WORDS = _LATE + _BUCKETS
_NAME_WORDS = 32  # 256 bytes: two for the length, the rest for the name
_ENTRY = _NAME_WORDS + _WORDS
_HEADER = 2  # words: whether it is on, how many entries there are
TALLIES_BYTES = ((_HEADER + (MOST_TASKS + 1) * _ENTRY) * 8 + 4095) // 4096 * 4096


@dataclass(frozen=True, slots=True)
class Tally:
    """The calls of `task` in one slot. `runtimes[outcome]` and `late` count calls by the first of `BOUNDS_S` that is no
    shorter, the last place is for those beyond all; the sums are seconds."""

    task: str
    runtimes: dict[Outcome, list[int]]
    runtime_sum_s: float
    late: list[int]
    late_sum_s: float


class Tallies:
    """One slot's. Every process has its own object on the same memory."""

    def __init__(self, region: memoryview) -> None:
        self._region = region
        self._ints = region.cast("q")
        self._floats = region.cast("d")
        self._places: dict[str, int] = {}

    @property
    def is_on(self) -> bool:
        return self._ints[0] != 0

    def turn_on(self) -> None:
        """By the supervisor, before it has slots."""
        self._ints[0] = 1

    # -- the slot -----------------------------------------------------------------------------------------------------

    def count(self, task: str, outcome: Outcome, seconds: float) -> None:
        """One more call that ran for `seconds`."""
        at = self._places.get(task)
        if at is None:
            at = self._place(task)
        self._floats[at] += seconds
        behind = 2 if outcome is _SUCCESS else _BEHIND.get(outcome, _OF_OTHERS)
        self._ints[at + behind + bisect_left(BOUNDS_S, seconds)] += 1

    def started_late(self, task: str, seconds: float) -> None:
        """One more call that knew when it was due, and started `seconds` after that."""
        at = self._places.get(task)
        if at is None:
            at = self._place(task)
        seconds = max(0.0, seconds)
        self._floats[at + 1] += seconds
        self._ints[at + _LATE + bisect_left(BOUNDS_S, seconds)] += 1

    def _place(self, task: str) -> int:
        """Where the numbers of `task` stand: of the tasks that come after `MOST_TASKS` others, all in one place."""
        if not self._places:  # what the process before has counted
            self._places = {name: at for name, at in self._entries() if name != OTHERS}
        at = self._places.get(task)
        if at is None:
            at = self._places[task] = self._add(task if self._ints[1] < MOST_TASKS else OTHERS)
        return at

    def _add(self, name: str) -> int:
        place = MOST_TASKS if name == OTHERS else self._ints[1]
        at = _HEADER + place * _ENTRY
        data = name.encode("utf-8", "replace")[: _NAME_WORDS * 8 - 2]
        self._region[at * 8 + 2 : at * 8 + 2 + len(data)] = data
        self._region[at * 8 : at * 8 + 2] = len(data).to_bytes(2, "little")
        if name != OTHERS:
            self._ints[1] = place + 1
        return at + _NAME_WORDS

    # -- the supervisor -----------------------------------------------------------------------------------------------

    def tallies(self) -> Iterator[Tally]:
        """All there are now, the ones that share a place as `OTHERS`."""
        for name, at in self._entries():
            words = self._ints[at : at + _WORDS].tolist()
            yield Tally(
                name,
                {outcome: words[first : first + _BUCKETS] for outcome, first in _BEHIND.items()},
                self._floats[at],
                words[_LATE:],
                self._floats[at + 1],
            )

    def _entries(self) -> Iterator[tuple[str, int]]:
        for place in (*range(self._ints[1]), MOST_TASKS):
            at = (_HEADER + place * _ENTRY) * 8
            size = int.from_bytes(self._region[at : at + 2], "little")
            if size:
                name = str(self._region[at + 2 : at + 2 + size], "utf-8", "replace")
                yield name, _HEADER + place * _ENTRY + _NAME_WORDS

    def release_memory(self) -> None:
        for view in (self._ints, self._floats, self._region):
            view.release()
