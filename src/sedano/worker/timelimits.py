"""Looks at the table while slots are busy: ends calls that run too long, takes back what waits behind a long one.

A call that runs longer than `long_s` has everything behind it taken back, once. At its soft limit its slot gets SIGUSR1 and
raises `SoftTimeLimitExceeded` in the task; at its hard limit the slot is condemned and killed, and its successor starts.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass

from sedano.contracts import Lease
from sedano.exceptions import TimeLimitExceeded
from sedano.worker import lines
from sedano.worker.pools.events import Pool
from sedano.worker.table import CallNote, Cause, Phase, Row, SharedTable

TICK_S = 0.025
GiveBack = Callable[[Lease, list[str], bool], None]


@dataclass(slots=True)
class _Watched:
    """The call that a row was seen running last."""

    window: int = -1
    k: int = -1
    note: CallNote | None = None
    long_done: bool = False
    soft_done: bool = False


class TableWatch:
    """One node's watch. `give_back(lease, tags, release_all)` must not block."""

    tick_s = TICK_S

    def __init__(self, table: SharedTable, pool: Pool, give_back: GiveBack, *, long_s: float) -> None:
        self._table, self._pool, self._give_back, self._long_s = table, pool, give_back, long_s
        self._watched = [_Watched() for _ in range(len(table))]

    def look(self, now: float) -> bool:
        """Look once; whether some slot is busy, so that the next look is due in `TICK_S`."""
        busy = self._look_at_rows(now)
        if busy:
            self._table.supervisor_watches = True
            return True
        if self._table.supervisor_watches:
            self._table.supervisor_watches = False
            # A slot that became busy just before that may have seen the flag and kept silent.
            return self._any_busy()
        return False

    def _any_busy(self) -> bool:
        return any(row.phase is Phase.BUSY for row in self._table)

    def _look_at_rows(self, now: float) -> bool:
        busy = False
        for row, watched in zip(self._table, self._watched, strict=True):
            if row.phase not in (Phase.BUSY, Phase.STOPPING):
                continue
            busy = True
            running = row.running()
            if running is not None:
                window, k, started_at = running
                if (window, k) != (watched.window, watched.k):
                    watched.window, watched.k = window, k
                    watched.note, watched.long_done, watched.soft_done = None, False, False
                age_s = now - started_at
                if age_s >= self._long_s and not watched.long_done:
                    self._take_back(row, watched)
                if age_s >= TICK_S and self._pool.ends_calls:
                    self._enforce(row, watched, age_s)
        return busy

    def _take_back(self, row: Row, watched: _Watched) -> None:
        watched.long_done = True
        lease = Lease(row.owner, row.fence)
        stash = row.stash > 0
        if not stash and not row.waiting():
            return
        taken = [note.tag for note in row.take_back(watched.window)]
        if lease.owner and (taken or stash):
            self._give_back(lease, taken, stash)

    def _enforce(self, row: Row, watched: _Watched, age_s: float) -> None:
        if watched.note is None:
            watched.note = row.note(watched.window, watched.k)
            if watched.note is None:
                return
        note = watched.note
        if row.condemned is not Cause.NONE:
            return  # it is dying already, of this or of something else
        if note.hard_s and age_s >= note.hard_s and row.condemn(watched.window, watched.k, Cause.HARD_LIMIT):
            lines.handler_error(TimeLimitExceeded(note.hard_s))
            lines.hard_limit(task_id=note.task_id, name=note.task, seconds=note.hard_s)
            self._pool.signal(row.index, signal.SIGKILL)
        elif note.soft_s and age_s >= note.soft_s and not watched.soft_done:
            watched.soft_done = True
            if row.mark_soft(watched.window, watched.k):
                lines.soft_limit(task_id=note.task_id, name=note.task, seconds=note.soft_s)
                self._pool.signal(row.index, signal.SIGUSR1)
