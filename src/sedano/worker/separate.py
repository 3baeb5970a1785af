"""Results in another store than the broker's: a settlement's second step.

The broker keeps what is to be stored (`Pending`) in the step that settles; it is stored here, and the broker is told so with
the next turn. Whoever dies in between leaves the pending to a reaper. Repeating a store changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

from sedano.clock import Clock
from sedano.contracts import ChordReady, Pending, Results, ResultWrite
from sedano.crashpoints import reach
from sedano.exceptions import OperationalError
from sedano.worker.lines import one_line
from sedano.worker.reconnect import backoff

_logger = logging.getLogger("celery.worker.job")

MOST_WAITING = 10_000
"""Pendings held here for another try; older ones are left to whoever takes this slot's lease over, when it ends."""


Unstorable = Callable[[Pending, Exception], Pending]
"""What to store in the place of a pending that the store refuses for good."""


def store_pendings(
    results: Results, pendings: Sequence[Pending], unstorable: Unstorable, *, repeated: bool = False
) -> dict[str, list[ChordReady]]:
    """Store all in one step; the chords that are complete now, by the pending that brought the last part. What the store
    refuses goes alone, in a form that it must take: it must not keep the others waiting. `repeated`: an earlier try may have
    been applied. Raises OperationalError when the store cannot be used now."""
    try:
        return _stored(results, pendings, repeated=repeated)
    except OperationalError:
        raise
    except Exception as exc:
        if len(pendings) > 1:
            apart = [store_pendings(results, [pending], unstorable, repeated=repeated) for pending in pendings]
            return {key: chords for each in apart for key, chords in each.items()}
        _logger.error("the result of task %s cannot be stored, it becomes a FAILURE: %r", one_line(pendings[0].key), exc)
        return _stored(results, [unstorable(pendings[0], exc)], repeated=repeated)


def _stored(results: Results, pendings: Sequence[Pending], *, repeated: bool) -> dict[str, list[ChordReady]]:
    writes = [write for pending in pendings for write in pending.writes]
    parts = [part for pending in pendings for part in pending.parts]
    starts = [start for pending in pendings for start in pending.chord_starts]
    chords = results.store(writes, parts, starts, repeated=repeated)
    found: dict[str, list[ChordReady]] = {}
    for chord in chords:
        bringer = next(each for each in reversed(pendings) if any(part.group_id == chord.group_id for part in each.parts))
        found.setdefault(bringer.key, []).append(chord)
    return found


class SeparateResults:
    """One slot's way to its result store; connects at first use. Never blocks longer than one try."""

    def __init__(self, open_results: Callable[[], Results | None], unstorable: Unstorable, clock: Clock) -> None:
        self._open = open_results
        self._unstorable = unstorable
        self._results: Results | None = None
        self._clock = clock
        self._waiting: list[Pending] = []
        self._waits = backoff()
        self._try_at = 0.0
        self._repeats = False

    @property
    def retry_in(self) -> float | None:
        """Seconds until the next try, None when nothing waits."""
        return max(0.0, self._try_at - self._clock.monotonic()) if self._waiting else None

    def add(self, pendings: Iterable[Pending]) -> None:
        self._waiting.extend(pendings)
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[:-MOST_WAITING]

    def send(self) -> tuple[list[str], dict[str, list[ChordReady]]]:
        """Store what waits: the keys of the pendings that are over now; and chords that are complete, by the pending that stays
        until they are finished."""
        if not self._waiting or self._clock.monotonic() < self._try_at:
            return [], {}
        reach("slot.results.before")
        try:
            chords = store_pendings(self.connected(), self._waiting, self._unstorable, repeated=self._repeats)
        except OperationalError as exc:
            self._repeats = True
            self._later(exc)
            return [], {}
        reach("slot.results.after")
        keys = [pending.key for pending in self._waiting if pending.key not in chords]
        self._waiting.clear()
        self._repeats = False
        self._waits, self._try_at = backoff(), 0.0
        return keys, chords

    def store(self, writes: Sequence[ResultWrite]) -> None:
        """Store records now. Raises OperationalError."""
        self.connected().store(writes)

    def fetch(self, task_id: str) -> bytes | None:
        """Raises OperationalError."""
        return self.connected().fetch([task_id])[0]

    def close(self) -> None:
        if self._results is not None:
            self._results.close()
            self._results = None

    def connected(self) -> Results:
        """The store. Raises OperationalError."""
        if self._results is None:
            self._results = self._open()
            if self._results is None:
                raise OperationalError("results are off: set result_backend")
        return self._results

    def _later(self, exc: OperationalError) -> None:
        wait = next(self._waits)
        self._try_at = self._clock.monotonic() + wait
        _logger.error(
            "%s results are not stored yet, trying again in %.2f seconds; the broker keeps them: %s",
            len(self._waiting),
            wait,
            exc,
        )
        self.reconnect()

    def reconnect(self) -> None:
        """After something failed."""
        if self._results is not None:
            try:
                self._results.reconnect()
            except OperationalError:
                self.close()
