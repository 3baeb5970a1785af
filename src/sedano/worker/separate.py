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
from sedano.worker.reconnect import backoff

_logger = logging.getLogger("celery.worker.job")

MOST_WAITING = 10_000
"""Pendings held here for another try; older ones are left to whoever takes this slot's lease over, when it ends."""


class SeparateResults:
    """One slot's way to its result store; connects at first use. Never blocks longer than one try."""

    def __init__(self, open_results: Callable[[], Results | None], clock: Clock) -> None:
        self._open = open_results
        self._results: Results | None = None
        self._clock = clock
        self._waiting: list[Pending] = []
        self._waits = backoff()
        self._try_at = 0.0

    @property
    def retry_in(self) -> float | None:
        """Seconds until the next try, None when nothing waits."""
        return max(0.0, self._try_at - self._clock.monotonic()) if self._waiting else None

    def add(self, pendings: Iterable[Pending]) -> None:
        self._waiting.extend(pendings)
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[:-MOST_WAITING]

    def send(self) -> tuple[list[str], list[ChordReady]]:
        """Store what waits: the keys of the pendings that are stored now, and chords that got their last part."""
        if not self._waiting or self._clock.monotonic() < self._try_at:
            return [], []
        reach("slot.results.before")
        writes = [write for pending in self._waiting for write in pending.writes]
        parts = [pending.chord_part for pending in self._waiting if pending.chord_part is not None]
        try:
            chords = self._connected().store(writes, parts)
        except OperationalError as exc:
            self._later(exc)
            return [], []
        reach("slot.results.after")
        keys = [pending.key for pending in self._waiting]
        self._waiting.clear()
        self._waits, self._try_at = backoff(), 0.0
        return keys, chords

    def store(self, writes: Sequence[ResultWrite]) -> None:
        """Store records now. Raises OperationalError."""
        self._connected().store(writes)

    def fetch(self, task_id: str) -> bytes | None:
        """Raises OperationalError."""
        return self._connected().fetch([task_id])[0]

    def close(self) -> None:
        if self._results is not None:
            self._results.close()
            self._results = None

    def _connected(self) -> Results:
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
        if self._results is not None:
            try:
                self._results.reconnect()
            except OperationalError:
                self.close()
